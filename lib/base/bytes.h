// ByteReader and ByteWriter: little-endian numbers in a bounded run of bytes. A read or write past the end returns
// false and changes nothing, so bytes from outside can be parsed field by field without a length check for each.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace distmnist {

template <typename T>
concept Number = std::integral<T> || std::floating_point<T>;

// Converts little-endian bytes to a number and back; `bytes` holds exactly sizeof(T) bytes.
template <Number T>
T from_little_endian(std::span<const std::byte, sizeof(T)> bytes) {
  std::array<std::byte, sizeof(T)> copy;
  std::ranges::copy(bytes, copy.begin());
  if constexpr (std::endian::native == std::endian::big) std::ranges::reverse(copy);
  T value;
  std::memcpy(&value, copy.data(), sizeof(T));
  return value;
}
template <Number T>
std::array<std::byte, sizeof(T)> to_little_endian(T value) {
  std::array<std::byte, sizeof(T)> bytes;
  std::memcpy(bytes.data(), &value, sizeof(T));
  if constexpr (std::endian::native == std::endian::big) std::ranges::reverse(bytes);
  return bytes;
}

// The bytes of a text; valid as long as the text is.
inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
// `bytes` as text; valid as long as they are.
inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// Reads from the front of `bytes`, which must outlive the reader.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return bytes_.size() - offset_; }

  // Returns false and changes nothing if fewer bytes are left.
  template <Number T>
  [[nodiscard]] bool read(T& value) {
    if (remaining() < sizeof(T)) return false;
    value = from_little_endian<T>(bytes_.subspan(offset_).template first<sizeof(T)>());
    offset_ += sizeof(T);
    return true;
  }
  // A view of the next `size` bytes, not a copy.
  [[nodiscard]] bool read_bytes(std::size_t size, std::span<const std::byte>& view) {
    if (remaining() < size) return false;
    view = bytes_.subspan(offset_, size);
    offset_ += size;
    return true;
  }
  [[nodiscard]] bool skip(std::size_t size) {
    if (remaining() < size) return false;
    offset_ += size;
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t offset_ = 0;
};

// Writes from the front of `bytes`, which must outlive the writer.
class ByteWriter {
 public:
  explicit ByteWriter(std::span<std::byte> bytes) : bytes_(bytes) {}

  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return bytes_.size() - offset_; }

  // Returns false and changes nothing if there is no room.
  template <Number T>
  [[nodiscard]] bool write(T value) {
    return write_bytes(to_little_endian(value));
  }
  [[nodiscard]] bool write_bytes(std::span<const std::byte> source) {
    if (remaining() < source.size()) return false;
    std::ranges::copy(source, bytes_.subspan(offset_).begin());
    offset_ += source.size();
    return true;
  }

 private:
  std::span<std::byte> bytes_;
  std::size_t offset_ = 0;
};

}  // namespace distmnist
