#include "lib/base/bytes.h"

#include <limits>

#include "tests/support/catch.h"

using namespace distmnist;

TEST_CASE("numbers are written with the lowest byte first and read back") {
  std::array<std::byte, 26> buffer{};
  ByteWriter writer(buffer);
  REQUIRE(writer.write(std::uint16_t{0x1234}));
  REQUIRE(writer.write(std::uint32_t{0xDEADBEEF}));
  REQUIRE(writer.write(std::int64_t{-2}));
  REQUIRE(writer.write(1.5F));
  REQUIRE(writer.write(-0.25));
  CHECK(writer.remaining() == 0);
  CHECK(buffer[0] == std::byte{0x34});
  CHECK(buffer[1] == std::byte{0x12});
  CHECK(buffer[2] == std::byte{0xEF});

  ByteReader reader(buffer);
  std::uint16_t u16 = 0;
  std::uint32_t u32 = 0;
  std::int64_t i64 = 0;
  float f32 = 0;
  double f64 = 0;
  REQUIRE((reader.read(u16) && reader.read(u32) && reader.read(i64) && reader.read(f32) && reader.read(f64)));
  CHECK(u16 == 0x1234);
  CHECK(u32 == 0xDEADBEEF);
  CHECK(i64 == -2);
  CHECK(f32 == 1.5F);
  CHECK(f64 == -0.25);
}

TEST_CASE("reading past the end is reported and does not move the position") {
  const std::array<std::byte, 5> buffer{};
  ByteReader reader(buffer);
  REQUIRE(reader.skip(2));
  std::uint32_t value = 7;
  std::span<const std::byte> view;
  CHECK_FALSE(reader.read(value));
  CHECK(value == 7);
  CHECK_FALSE(reader.read_bytes(4, view));
  CHECK_FALSE(reader.read_bytes(std::numeric_limits<std::size_t>::max(), view));
  CHECK_FALSE(reader.skip(std::numeric_limits<std::size_t>::max()));
  CHECK(reader.offset() == 2);
  CHECK(reader.remaining() == 3);
  REQUIRE(reader.read_bytes(3, view));
  CHECK(view.data() == buffer.data() + 2);
  CHECK(reader.remaining() == 0);
}

TEST_CASE("writing past the end is reported and writes nothing") {
  std::array<std::byte, 3> buffer{};
  ByteWriter writer(buffer);
  REQUIRE(writer.write(std::uint8_t{9}));
  CHECK_FALSE(writer.write(std::uint32_t{0xFFFFFFFF}));
  CHECK_FALSE(writer.write_bytes(bytes_of("abc")));
  CHECK(writer.offset() == 1);
  CHECK(buffer[1] == std::byte{0});
  REQUIRE(writer.write_bytes(bytes_of("ab")));
  CHECK(text_of(buffer).substr(1) == "ab");
}

TEST_CASE("an empty run of bytes holds nothing") {
  ByteReader reader({});
  std::uint8_t value = 0;
  std::span<const std::byte> view;
  CHECK_FALSE(reader.read(value));
  CHECK(reader.read_bytes(0, view));
}
