#include "lib/math/crc32c.h"

#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/random.h"
#include "tests/support/catch.h"

using namespace distmnist;

namespace {

std::vector<std::byte> noise(std::size_t size) {
  Random random(7, size);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.next());
  return bytes;
}

// The definition, bit by bit.
std::uint32_t by_definition(std::span<const std::byte> bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (std::byte byte : bytes) {
    crc ^= static_cast<std::uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
  }
  return ~crc;
}

}  // namespace

TEST_CASE("the check value and the vectors of RFC 3720 are reproduced") {
  CHECK(crc32c(bytes_of("123456789")) == 0xE3069283);
  CHECK(crc32c_portable(bytes_of("123456789")) == 0xE3069283);
  CHECK(crc32c({}) == 0);
  CHECK(crc32c(std::vector<std::byte>(32)) == 0x8A9136AA);
  CHECK(crc32c(std::vector<std::byte>(32, std::byte{0xFF})) == 0x62A8AB43);
}

TEST_CASE("every length and alignment agrees with the definition") {
  const auto bytes = noise(200);
  for (std::size_t begin = 0; begin < 9; ++begin) {
    for (std::size_t size = 0; begin + size <= bytes.size(); ++size) {
      const auto part = std::span(bytes).subspan(begin, size);
      REQUIRE(crc32c(part) == by_definition(part));
      REQUIRE(crc32c_portable(part) == by_definition(part));
    }
  }
}

TEST_CASE("inputs around the interleaved stripes agree with the definition") {
  for (std::size_t size : {4095, 4096, 4097, 12287, 12288, 12289, 24576, 24583, 100003}) {
    const auto bytes = noise(size);
    CHECK(crc32c(bytes) == by_definition(bytes));
    CHECK(crc32c_portable(bytes) == by_definition(bytes));
  }
}

TEST_CASE("a checksum can be continued at any position") {
  const auto bytes = noise(30000);
  const std::uint32_t whole = crc32c(bytes);
  for (std::size_t cut : {0, 1, 7, 8, 4096, 12288, 12289, 29999, 30000}) {
    const auto head = std::span(bytes).first(cut), tail = std::span(bytes).subspan(cut);
    CHECK(crc32c(tail, crc32c(head)) == whole);
    CHECK(crc32c_portable(tail, crc32c_portable(head)) == whole);
  }
}
