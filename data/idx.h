// IDX: the file format of MNIST. Bytes 0, 0, type (8: unsigned byte), number of dimensions; the dimensions as
// big-endian 32-bit numbers; the data, with the last dimension varying fastest (http://yann.lecun.com/exdb/mnist).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "data/mapped_file.h"

namespace distmnist {

enum class IdxKind {
  kImages,  // magic 0x803, dimensions [count, height, width]
  kLabels,  // magic 0x801, dimensions [count], each label 0 .. 9
};

// Larger data is rejected, whatever the header says.
inline constexpr std::int64_t kMaxIdxBytes = std::int64_t{1} << 30;

struct IdxArray {
  std::vector<std::int64_t> dimensions;      // each at least 1
  std::span<const std::uint8_t> data;        // as many bytes as the product of the dimensions
  std::shared_ptr<const void> owner;         // keeps `data` alive
  std::shared_ptr<const MappedFile> mapped;  // the owner, if the data is in a mapped file
};

// Reads one file, plain (mapped, not copied) or gzip (decompressed into memory), as its first bytes tell, not its name.
// Error (kData) gives the file and the offset of the problem: a different kind of file, a header that does not match
// the file size, missing or extra bytes, corrupted gzip data, a label above 9, or a file that `trust` does not accept.
// If the file is not IDX, the error says what it is (data/file_kind.h). Memory is never allocated on the basis of the
// header alone.
IdxArray read_idx(const std::filesystem::path& path, IdxKind kind, Trust trust = Trust::kAnyone);

// The header for data with these dimensions.
std::vector<std::uint8_t> idx_header(std::span<const std::int64_t> dimensions);

// Writes a plain IDX file that only this user can write. `path` is always either absent or complete, even if several
// processes write it at once. Same errors as AtomicFile (lib/base/file.h).
void write_idx(const std::filesystem::path& path, std::span<const std::int64_t> dimensions,
               std::span<const std::uint8_t> data);

}  // namespace distmnist
