// IDX: the file format of MNIST. Bytes 0, 0, type (8: unsigned byte), number of dimensions; the dimensions as
// big-endian 32-bit numbers; the data, the last dimension moving fastest (http://yann.lecun.com/exdb/mnist).
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

// More than this is refused, whatever a header says.
inline constexpr std::int64_t kMaxIdxBytes = std::int64_t{1} << 30;

struct IdxArray {
  std::vector<std::int64_t> dimensions;      // each at least 1
  std::span<const std::uint8_t> data;        // as many bytes as the dimensions multiply to
  std::shared_ptr<const void> owner;         // keeps `data` alive
  std::shared_ptr<const MappedFile> mapped;  // the owner, where the data is that of a mapped file
};

// Reads one file, plain (mapped, not copied) or gzip (decompressed into memory); its first bytes tell which, not its
// name. Error (kData) names the file and the offset of what is wrong: another kind of file, a header that does not fit
// the file's size, missing or extra bytes, corrupted gzip data, a label above 9, a file that `trust` does not take.
// For a file that is not IDX it says what the file is (data/file_kind.h). Nothing is allocated on a header's word
// alone.
IdxArray read_idx(const std::filesystem::path& path, IdxKind kind, Trust trust = Trust::kAnyone);

// The header that precedes data of these dimensions.
std::vector<std::uint8_t> idx_header(std::span<const std::int64_t> dimensions);

// Writes a plain IDX file that only this user may write; `path` is always absent or whole, also when several processes
// write it at once. Errors are those of AtomicFile (lib/base/file.h).
void write_idx(const std::filesystem::path& path, std::span<const std::int64_t> dimensions,
               std::span<const std::uint8_t> data);

}  // namespace distmnist
