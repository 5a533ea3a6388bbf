// A card's free memory, asked of the driver's management library: CUDA itself tells it only to processes that hold a
// context on the card, which costs some hundred MB on each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace distmnist::cuda {

// Bytes; nothing where there is no libnvidia-ml.so.1, or it does not know the card.
std::optional<std::uint64_t> free_bytes_of(const std::string& pci_bus_id);

}  // namespace distmnist::cuda
