// Inspection: what `inspect` prints about a checkpoint or any other safetensors file, and `verify` about a checkpoint.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace distmnist {

struct Inspection {
  std::vector<std::string> lines;
  std::optional<std::string> damage;  // a message for the user if the checksums do not match; `lines` is still valid
};

// Reports the file size, the checksums, the metadata (global_step first), and for each tensor its name, dtype, shape
// and bytes. For F32 it adds min, max, mean and the number of values that are not finite, which the other three
// exclude. Files from other programs work too. Error (kData) if it is not a safetensors file, with the reason and the
// offset.
Inspection inspect_checkpoint(const std::filesystem::path& path);

// Verifies every byte of a checkpoint as a resumed run would, and returns what was verified, part by part: header,
// data, variables, slots, positions. Errors of read_checkpoint.
std::vector<std::string> verify_checkpoint(const std::filesystem::path& path);

}  // namespace distmnist
