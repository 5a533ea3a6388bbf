#include "lib/wire/header.h"

#include <cstring>
#include <functional>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/math/crc32c.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

// A valid push of three floats with every field set.
Header full_header() {
  Header header;
  header.type = MessageType::kPush;
  header.dtype = WireDtype::kF32;
  header.wants = WireDtype::kF16;
  header.slot = 2;
  header.flags = kChecksumData;
  header.worker = 3;
  header.run = 0x1111111111111111;
  header.ps_epoch = 0x2222222222222222;
  header.lease = 5;
  header.incarnation = 0x3333333333333333;
  header.sequence = 77;
  header.container = container_id("shared");
  header.commit = 12;
  header.step = 34;
  header.range_offset = 1'625'000;
  header.range_size = 3;
  header.payload_bytes = 12;
  header.payload_crc = 0xABCDEF01;
  header.samples = 50;
  return header;
}

HeaderFault fault_of(const Header& header, std::size_t payload_bytes) {
  return decode_header(encode_header(header), payload_bytes).fault;
}

// The fault after `change` was applied to a valid header of a message with 12 payload bytes.
HeaderFault fault_after(const std::function<void(Header&)>& change) {
  Header header = full_header();
  change(header);
  return fault_of(header, 12);
}

template <class T>
T field_at(std::span<const std::byte> bytes, std::size_t offset) {
  ByteReader reader(bytes.subspan(offset));
  T value{};
  REQUIRE(reader.read(value));
  return value;
}

}  // namespace

TEST_CASE("a header is decoded as it was sent") {
  const DecodedHeader decoded = decode_header(encode_header(full_header()), 12);
  REQUIRE(decoded.fault == HeaderFault::kNone);
  Header expected = full_header();
  expected.header_crc = decoded.header.header_crc;
  CHECK(std::memcmp(&decoded.header, &expected, sizeof expected) == 0);
}

TEST_CASE("every field has the place in docs/protocol.md, little-endian") {
  const auto bytes = encode_header(full_header());
  CHECK(std::memcmp(bytes.data(), "DIMN", 4) == 0);
  CHECK(field_at<std::uint16_t>(bytes, 4) == kProtocolVersion);
  CHECK(field_at<std::uint8_t>(bytes, 6) == 6);  // push
  CHECK(field_at<std::uint8_t>(bytes, 7) == 4);  // f16 requested
  CHECK(field_at<std::uint8_t>(bytes, 8) == 2);  // f32
  CHECK(field_at<std::uint8_t>(bytes, 9) == 2);
  CHECK(field_at<std::uint16_t>(bytes, 10) == kChecksumData);
  CHECK(field_at<std::uint32_t>(bytes, 12) == 3);
  CHECK(field_at<std::uint64_t>(bytes, 16) == 0x1111111111111111);
  CHECK(field_at<std::uint64_t>(bytes, 24) == 0x2222222222222222);
  CHECK(field_at<std::uint64_t>(bytes, 32) == 5);
  CHECK(field_at<std::uint64_t>(bytes, 40) == 0x3333333333333333);
  CHECK(field_at<std::uint64_t>(bytes, 48) == 77);
  CHECK(field_at<std::uint64_t>(bytes, 56) == container_id("shared"));
  CHECK(field_at<std::int64_t>(bytes, 64) == 12);
  CHECK(field_at<std::int64_t>(bytes, 72) == 34);
  CHECK(field_at<std::int64_t>(bytes, 80) == 1'625'000);
  CHECK(field_at<std::int64_t>(bytes, 88) == 3);
  CHECK(field_at<std::uint32_t>(bytes, 96) == 12);
  CHECK(field_at<std::uint32_t>(bytes, 100) == 0xABCDEF01);
  CHECK(field_at<std::uint32_t>(bytes, 104) == 50);
  CHECK(field_at<std::uint32_t>(bytes, 108) == crc32c(std::span(bytes).first(108)));
}

TEST_CASE("any flipped bit of a header is detected") {
  const auto good = encode_header(full_header());
  for (std::size_t bit = 0; bit < 8 * kHeaderBytes; ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    const HeaderFault expected = bit < 32   ? HeaderFault::kMagic
                                 : bit < 48 ? HeaderFault::kVersion
                                            : HeaderFault::kChecksum;
    CAPTURE(bit);
    CHECK(decode_header(bytes, 12).fault == expected);
  }
}

TEST_CASE("a header of the wrong length is refused") {
  const auto good = encode_header(full_header());
  for (std::size_t size = 0; size < kHeaderBytes; ++size) {
    CAPTURE(size);
    CHECK(decode_header(std::span(good).first(size), 12).fault == HeaderFault::kSize);
  }
  std::vector<std::byte> longer(good.begin(), good.end());
  longer.push_back({});
  CHECK(decode_header(longer, 12).fault == HeaderFault::kSize);
}

TEST_CASE("a different version is recognized whatever follows it, so that its sender can be told") {
  Header header = full_header();
  header.version = kProtocolVersion + 6;
  const auto bytes = encode_header(header);
  for (const std::size_t size : {std::size_t{8}, std::size_t{40}, kHeaderBytes}) {
    const DecodedHeader decoded = decode_header(std::span(bytes).first(size), 999);
    CHECK(decoded.fault == HeaderFault::kVersion);
    CHECK(decoded.header.version == kProtocolVersion + 6);
    CHECK(decoded.header.worker == 0);  // no other field is trusted
  }
}

TEST_CASE("fields out of range are refused even with a good checksum") {
  const auto set_type = [](int value) { return [value](Header& h) { h.type = static_cast<MessageType>(value); }; };
  for (int type = 0; type < 256; ++type) {
    const bool known = (type >= 1 && type <= 17) || (type >= 32 && type <= 47);
    CAPTURE(type);
    CHECK(fault_after(set_type(type)) == (known ? HeaderFault::kNone : HeaderFault::kField));
  }
  CHECK(fault_after([](Header& h) { h.wants = WireDtype::kNone; }) == HeaderFault::kField);
  CHECK(fault_after([](Header& h) { h.wants = WireDtype::kRecord; }) == HeaderFault::kField);
  CHECK(fault_after([](Header& h) { h.wants = static_cast<WireDtype>(5); }) == HeaderFault::kField);
  CHECK(fault_after([](Header& h) { h.dtype = static_cast<WireDtype>(5); }) == HeaderFault::kField);
  CHECK(fault_after([](Header& h) { h.range_offset = -1; }) == HeaderFault::kField);
  CHECK(fault_after([](Header& h) { h.range_offset = (std::int64_t{1} << 48) + 1; }) == HeaderFault::kField);
  CHECK(fault_after([](Header& h) { h.range_size = -3; }) == HeaderFault::kField);
  CHECK(fault_after([](Header& h) { h.range_size = kMaxPayloadFloats + 1; }) == HeaderFault::kField);
  CHECK(fault_after([](Header& h) { h.range_size = std::int64_t{1} << 62; }) == HeaderFault::kField);
  CHECK(fault_after([](Header& h) { h.step = -1; }) == HeaderFault::kField);
  CHECK(fault_after([](Header& h) { h.commit = -1; }) == HeaderFault::kField);
}

TEST_CASE("a payload with a different size than announced is refused") {
  CHECK(fault_of(full_header(), 11) == HeaderFault::kPayload);
  CHECK(fault_of(full_header(), 0) == HeaderFault::kPayload);
  CHECK(fault_after([](Header& h) { h.payload_bytes = 8; }) == HeaderFault::kPayload);
  CHECK(fault_after([](Header& h) { h.payload_bytes = 0xFFFFFFFF; }) == HeaderFault::kPayload);
  // The range announces a different number of floats than the payload has bytes for.
  CHECK(fault_after([](Header& h) { h.range_size = 2; }) == HeaderFault::kPayload);
  // A message without a payload type has no payload.
  CHECK(fault_after([](Header& h) { h.dtype = WireDtype::kNone; }) == HeaderFault::kPayload);
}

TEST_CASE("16-bit numbers take half the bytes") {
  for (const WireDtype dtype : {WireDtype::kBf16, WireDtype::kF16}) {
    Header header = full_header();
    header.dtype = dtype;
    CHECK(fault_of(header, 12) == HeaderFault::kPayload);
    header.payload_bytes = 6;
    CHECK(fault_of(header, 6) == HeaderFault::kNone);
    CHECK(fault_of(header, 12) == HeaderFault::kPayload);
  }
}

TEST_CASE("a payload is at most one mebibyte") {
  Header floats = full_header();
  floats.range_size = kMaxPayloadFloats;
  floats.payload_bytes = kMaxPayloadBytes;
  CHECK(fault_of(floats, kMaxPayloadBytes) == HeaderFault::kNone);

  Header record = full_header();
  record.dtype = WireDtype::kRecord;
  record.payload_bytes = kMaxPayloadBytes + 1;
  CHECK(fault_of(record, kMaxPayloadBytes + 1) == HeaderFault::kPayload);
}

TEST_CASE("every fault has a different text") {
  std::vector<std::string> words;
  for (const HeaderFault fault : {HeaderFault::kNone, HeaderFault::kSize, HeaderFault::kMagic, HeaderFault::kVersion,
                                  HeaderFault::kChecksum, HeaderFault::kField, HeaderFault::kPayload}) {
    for (const std::string& other : words) CHECK(other != to_string(fault));
    words.emplace_back(to_string(fault));
  }
}

TEST_CASE("a container's number is the FNV-1a hash of its name") {
  // Values from the hash's published test suite.
  CHECK(container_id("") == 0xCBF29CE484222325ULL);
  CHECK(container_id("a") == 0xAF63DC4C8601EC8CULL);
  CHECK(container_id("foobar") == 0x85944171F73967E8ULL);
}

}  // namespace distmnist
