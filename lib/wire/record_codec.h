// Record codec: control records as bytes, with cereal's portable binary archive (little-endian). Bytes from outside are
// never trusted: cereal allocates any size that it reads, so strings and lists go through the bounded functions below,
// which check the size first. For .cc files that define records, not for headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <sstream>
#include <streambuf>
#include <string>
#include <utility>
#include <vector>

#include <cereal/archives/portable_binary.hpp>

#include "lib/wire/frame.h"

namespace distmnist {

inline constexpr std::uint32_t kMaxRecordString = 4096;  // bytes
inline constexpr std::uint32_t kMaxRecordList = 4096;    // elements

namespace record_detail {

class ReadBuffer : public std::streambuf {
 public:
  explicit ReadBuffer(std::span<const std::byte> bytes) {
    char* begin = const_cast<char*>(reinterpret_cast<const char*>(bytes.data()));
    setg(begin, begin, begin + bytes.size());
  }
  bool at_end() const { return gptr() == egptr(); }
};

// Reads or writes the size of a string or list; a size above `limit` is an error before anything is allocated.
template <class Archive>
std::uint32_t bounded_size(Archive& archive, std::size_t size, std::uint32_t limit) {
  auto wire_size = static_cast<std::uint32_t>(size);
  archive(wire_size);
  if (wire_size > limit) throw cereal::Exception("a string or list that is too long");
  return wire_size;
}

}  // namespace record_detail

// A byte that is 0 or 1: loading any other value into a bool would be undefined.
template <class Archive>
void bounded(Archive& archive, bool& value) {
  auto byte = static_cast<std::uint8_t>(value);
  archive(byte);
  if (byte > 1) throw cereal::Exception("a truth value that is neither true nor false");
  value = byte == 1;
}

// A byte-sized enumeration whose values are 0 .. last.
template <class Archive, class Enum>
void bounded(Archive& archive, Enum& value, Enum last) {
  archive(value);
  if (value > last) throw cereal::Exception("an unknown value of an enumeration");
}

template <class Archive>
void bounded(Archive& archive, std::string& text) {
  text.resize(record_detail::bounded_size(archive, text.size(), kMaxRecordString));
  archive(cereal::binary_data(text.data(), text.size()));
}

template <class Archive, class T, class Element>
void bounded(Archive& archive, std::vector<T>& list, const Element& element) {
  const std::uint32_t size = record_detail::bounded_size(archive, list.size(), kMaxRecordList);
  if constexpr (Archive::is_loading::value) list.clear();
  for (std::uint32_t i = 0; i < size; ++i) {
    // Grown one by one: a short message that announces many elements fails at the first missing one.
    if constexpr (Archive::is_loading::value) list.emplace_back();
    element(list[i]);
  }
}

// A record has `template <class Archive> void serialize(Archive&)`.
template <class Record>
Frame encode_with_cereal(const Record& record) {
  std::ostringstream stream;
  {
    cereal::PortableBinaryOutputArchive archive(stream, cereal::PortableBinaryOutputArchive::Options::LittleEndian());
    const_cast<Record&>(record).serialize(archive);
  }
  const std::string text = stream.str();
  Frame frame = Frame::allocate(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) frame.bytes()[i] = static_cast<std::byte>(text[i]);
  return frame;
}

// The record; empty if the bytes are not exactly one.
template <class Record>
std::optional<Record> decode_with_cereal(std::span<const std::byte> bytes) {
  try {
    record_detail::ReadBuffer buffer(bytes);
    std::istream stream(&buffer);
    cereal::PortableBinaryInputArchive archive(stream, cereal::PortableBinaryInputArchive::Options::LittleEndian());
    Record record;
    record.serialize(archive);
    if (!buffer.at_end()) return std::nullopt;
    return record;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace distmnist
