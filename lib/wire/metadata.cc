#include "lib/wire/metadata.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "lib/base/bytes.h"

namespace distmnist {
namespace {

// A name with a one-byte length and a value with a four-byte big-endian length, repeated.
struct Property {
  std::string_view name, value;
};
bool read_property(ByteReader& reader, Property& property) {
  std::uint8_t name_size = 0;
  std::array<std::uint8_t, 4> sizes{};
  std::span<const std::byte> name, value;
  if (!reader.read(name_size) || name_size == 0 || !reader.read_bytes(name_size, name)) return false;
  std::size_t value_size = 0;
  for (std::uint8_t& byte : sizes) {
    if (!reader.read(byte)) return false;
    value_size = value_size << 8 | byte;
  }
  if (!reader.read_bytes(value_size, value)) return false;
  property = {text_of(name), text_of(value)};
  return true;
}

bool is_socket_type(std::string_view name) {
  constexpr std::string_view kSocketType = "socket-type";
  return std::ranges::equal(name, kSocketType, [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}

}  // namespace

std::optional<std::string_view> socket_type_of(std::span<const std::byte> metadata) {
  ByteReader reader(metadata);
  std::optional<std::string_view> found;
  while (reader.remaining() > 0) {
    Property property;
    if (!read_property(reader, property)) return std::nullopt;
    if (!is_socket_type(property.name)) continue;
    if (found) return std::nullopt;
    found = property.value;
  }
  return found;
}

}  // namespace distmnist
