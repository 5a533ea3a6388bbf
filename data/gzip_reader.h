// GzipReader: the decompressed bytes of a .gz file, read in order with little memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace distmnist {

// A gzip file (RFC 1952), of one or several members. The checksum and the length at a member's end are verified. Zeros
// after the last member, with which tapes and block devices fill up, are no data; other bytes there are an error.
// Every Error is of kData and names the file and the offset in the compressed file. One thread at a time may call it.
class GzipReader {
 public:
  // Deflate (RFC 1951) cannot make more than this many bytes out of one.
  static constexpr std::int64_t kMaxExpansion = 1032;

  explicit GzipReader(const std::filesystem::path& path);
  ~GzipReader();
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  // Fills `bytes` and returns how many were there; fewer only at the end of the data. Error: truncated or corrupted.
  std::size_t read(std::span<std::uint8_t> bytes);

  // Bytes of the compressed file that were consumed so far.
  std::uint64_t compressed_offset() const;

 private:
  struct State;  // keeps zlib out of the header
  std::unique_ptr<State> state_;
};

}  // namespace distmnist
