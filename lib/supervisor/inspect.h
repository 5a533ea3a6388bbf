// What `inspect` prints of a checkpoint or of any other safetensors file.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace distmnist {

struct Inspection {
  std::vector<std::string> lines;
  std::optional<std::string>
      damage;  // the sentence for the user where the checksums do not match; the lines still stand
};

// File size, checksums, metadata (global_step first), and of each tensor name, dtype, shape, bytes, and for F32 min,
// max, mean and the number of values that are not finite, which the other three leave out. A file of another program is
// shown too. Error (kData) where it is no safetensors file, with the reason and the offset.
Inspection inspect_checkpoint(const std::filesystem::path& path);

}  // namespace distmnist
