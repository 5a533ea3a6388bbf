// Safetensors files: reading any valid one, and writing float32 tensors with checksums over every byte.
// Format: huggingface/safetensors; the two checksums in its metadata are ours (docs/checkpoint.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/file.h"
#include "lib/supervisor/safetensors_header.h"

namespace distmnist {

// An open file whose header is valid. Its data is read when asked for. One thread.
class SafetensorsReader {
 public:
  // Error: kData (missing, or not a safetensors file: what is wrong and at which offset) or kResources.
  explicit SafetensorsReader(const std::filesystem::path& path);
  SafetensorsReader(const SafetensorsReader&) = delete;
  SafetensorsReader& operator=(const SafetensorsReader&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size_bytes() const { return file_.size_bytes; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }
  const TensorInfo* find(std::string_view name) const;  // nullptr: there is none

  // Fills `bytes`, as many as tensor.size_bytes(), with a tensor of tensors(). Error (kData) where the file became
  // shorter.
  void read(const TensorInfo& tensor, std::span<std::byte> bytes) const;
  // The same for an F32 tensor; as many floats as it has elements.
  void read(const TensorInfo& tensor, std::span<float> values) const;

  // A file of another program has no checksums; that is no fault.
  bool has_checksums() const;
  // Reads the whole file. Error (kData) says whether header or data is damaged, or that there are no checksums.
  void verify_checksums() const;

 private:
  std::filesystem::path path_;
  InputFile file_;
  std::string header_text_;
  SafetensorsHeader header_;
  std::map<std::string_view, const TensorInfo*> by_name_;  // into header_, which no longer changes
};

struct NamedTensor {
  std::string name;
  std::vector<std::int64_t> shape;  // row-major
  std::span<const float> values;    // as many as the shape has elements
};

// Writes the tensors in this order, and the metadata with both checksums added; atomic and durable. Errors like
// AtomicFile.
void write_safetensors(const std::filesystem::path& path, std::map<std::string, std::string> metadata,
                       std::span<const NamedTensor> tensors);

}  // namespace distmnist
