// Free memory: a card's free memory, from the driver's management library. CUDA itself reports it only to processes
// with a context on the card, which costs several hundred MB per card.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace distmnist::cuda {

// In bytes; nothing if there is no libnvidia-ml.so.1 or it does not know the card.
std::optional<std::uint64_t> free_bytes_of(const std::string& pci_bus_id);

}  // namespace distmnist::cuda
