// Safetensors header: JSON with the names of the tensors and the positions of their bytes. Pure functions on text.
// Format: huggingface/safetensors; docs/checkpoint.md describes it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace distmnist {

inline constexpr std::size_t kLengthWordBytes = 8;  // at the start of the file: the size of the header
inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
inline constexpr std::size_t kMaxTensors = 1'000'000;
inline constexpr std::size_t kMaxTensorRank = 64;

struct TensorInfo {
  std::string name;
  std::string dtype;                // "F32"
  std::vector<std::int64_t> shape;  // row-major
  std::uint64_t begin = 0;          // bytes from the start of the data section
  std::uint64_t end = 0;

  std::uint64_t size_bytes() const { return end - begin; }
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  std::vector<TensorInfo> tensors;  // sorted by offset, without gaps
};

// Bytes per element of a safetensors dtype; 0 if unknown.
std::uint64_t element_size_bytes(std::string_view dtype);

// Parses the header text (without the length word, with the padding) and checks it against `data_size_bytes`, the size
// of the rest of the file. Error (kData) gives the file, the problem and its offset in the file.
SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_size_bytes,
                                           std::string_view file_name);

// The header text, padded with spaces to a multiple of 8.
std::string format_safetensors_header(const SafetensorsHeader& header);

// Makes text from a file safe for a message: at most `max_length` characters, control characters replaced by '?'.
std::string printable(std::string_view text, std::size_t max_length = 80);

// "[32, 1, 5, 5]"
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace distmnist
