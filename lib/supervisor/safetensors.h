// Safetensors files: reads any valid one, and writes float32 tensors with checksums over every byte.
// Format: huggingface/safetensors; the two checksums in the metadata are specific to this program (docs/checkpoint.md).
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

// An open file with a valid header. Reads the data on demand. Not thread-safe.
class SafetensorsReader {
 public:
  // Error: kData (missing, or not a safetensors file, with the reason and the offset) or kResources.
  explicit SafetensorsReader(const std::filesystem::path& path);
  SafetensorsReader(const SafetensorsReader&) = delete;
  SafetensorsReader& operator=(const SafetensorsReader&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size_bytes() const { return file_.size_bytes; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }
  const TensorInfo* find(std::string_view name) const;  // nullptr if there is none

  // Reads one of tensors() into `bytes`, which must have tensor.size_bytes() bytes. Error (kData) if the file has been
  // truncated.
  void read(const TensorInfo& tensor, std::span<std::byte> bytes) const;
  // The same for an F32 tensor; `values` must have as many floats as the tensor has elements.
  void read(const TensorInfo& tensor, std::span<float> values) const;

  // Files from other programs have no checksums; that is not an error.
  bool has_checksums() const;
  // Reads the whole file. Error (kData) says whether the header or the data is damaged, or that there are no checksums.
  void verify_checksums() const;

 private:
  std::filesystem::path path_;
  InputFile file_;
  std::string header_text_;
  SafetensorsHeader header_;
  std::map<std::string_view, const TensorInfo*> by_name_;  // points into header_, which does not change
};

struct NamedTensor {
  std::string name;
  std::vector<std::int64_t> shape;  // row-major
  std::span<const float> values;    // as many as the shape has elements
};

// Writes the tensors in this order, and the metadata plus both checksums. Atomic and durable. Same errors as
// AtomicFile.
void write_safetensors(const std::filesystem::path& path, std::map<std::string, std::string> metadata,
                       std::span<const NamedTensor> tensors);

}  // namespace distmnist
