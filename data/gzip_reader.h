// GzipReader: reads the decompressed bytes of a .gz file sequentially with little memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace distmnist {

// A gzip file (RFC 1952) with one or several members. The checksum and length at the end of each member are verified.
// Zeros after the last member, which tapes and block devices use as padding, are ignored; other bytes there are an
// error. Every Error is kData and gives the file and the offset in the compressed file. Not thread-safe.
class GzipReader {
 public:
  // The maximum number of bytes that deflate (RFC 1951) can produce from one byte.
  static constexpr std::int64_t kMaxExpansion = 1032;

  explicit GzipReader(const std::filesystem::path& path);
  ~GzipReader();
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  // Fills `bytes` and returns the number of bytes read, which is smaller only at the end of the data. Error: truncated
  // or corrupted.
  std::size_t read(std::span<std::uint8_t> bytes);

  // The number of bytes of the compressed file consumed so far.
  std::uint64_t compressed_offset() const;

 private:
  struct State;  // keeps zlib out of the header
  std::unique_ptr<State> state_;
};

}  // namespace distmnist
