#include "lib/wire/header.h"

#include <bit>
#include <cstring>
#include <string_view>

#include "lib/math/crc32c.h"
#include "lib/wire/numbers.h"

namespace distmnist {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the wire is little-endian and headers are copied as they are");

constexpr std::size_t kChecked = offsetof(Header, header_crc);
constexpr std::int64_t kMaxOffset = std::int64_t{1} << 48;  // floats; keeps sums of offsets and sizes far from overflow

bool known(MessageType type) {
  const auto value = static_cast<std::uint8_t>(type);
  return (value >= 1 && value <= 17) || (value >= 32 && value <= 47);
}

bool fields_fit(const Header& header) {
  return known(header.type) && header.dtype <= WireDtype::kF16 && is_number(header.wants) && header.range_offset >= 0 &&
         header.range_offset <= kMaxOffset && header.range_size >= 0 && header.range_size <= kMaxPayloadFloats &&
         header.step >= 0 && header.commit >= 0;
}

bool payload_fits(const Header& header, std::size_t payload_bytes) {
  if (payload_bytes > kMaxPayloadBytes || header.payload_bytes != payload_bytes) return false;
  switch (header.dtype) {
    case WireDtype::kNone:
      return payload_bytes == 0;
    case WireDtype::kRecord:
      return true;
    case WireDtype::kF32:
    case WireDtype::kBf16:
    case WireDtype::kF16:
      return payload_bytes == static_cast<std::size_t>(header.range_size) * bytes_per_number(header.dtype);
  }
  return false;
}

}  // namespace

std::array<std::byte, kHeaderBytes> encode_header(const Header& header) {
  std::array<std::byte, kHeaderBytes> bytes;
  std::memcpy(bytes.data(), &header, kHeaderBytes);
  const std::uint32_t crc = crc32c(std::span(bytes).first(kChecked));
  std::memcpy(bytes.data() + kChecked, &crc, sizeof crc);
  return bytes;
}

DecodedHeader decode_header(std::span<const std::byte> bytes, std::size_t payload_bytes) {
  DecodedHeader out;
  const auto faulty = [&out](HeaderFault fault) {
    out.fault = fault;
    return out;
  };
  // Magic and version come first in every version, so a peer with a different version can be told.
  if (bytes.size() < 8) return faulty(HeaderFault::kSize);
  std::memcpy(&out.header.magic, bytes.data(), sizeof out.header.magic);
  std::memcpy(&out.header.version, bytes.data() + 4, sizeof out.header.version);
  if (out.header.magic != kMagic) return faulty(HeaderFault::kMagic);
  if (out.header.version != kProtocolVersion) return faulty(HeaderFault::kVersion);
  if (bytes.size() != kHeaderBytes) return faulty(HeaderFault::kSize);
  std::memcpy(static_cast<void*>(&out.header), bytes.data(), kHeaderBytes);
  if (crc32c(bytes.first(kChecked)) != out.header.header_crc) return faulty(HeaderFault::kChecksum);
  if (!fields_fit(out.header)) return faulty(HeaderFault::kField);
  if (!payload_fits(out.header, payload_bytes)) return faulty(HeaderFault::kPayload);
  return out;
}

const char* to_string(HeaderFault fault) {
  switch (fault) {
    case HeaderFault::kNone:
      return "no fault";
    case HeaderFault::kSize:
      return "wrong header size";
    case HeaderFault::kMagic:
      return "not a distmnist message";
    case HeaderFault::kVersion:
      return "a different protocol version";
    case HeaderFault::kChecksum:
      return "wrong checksum";
    case HeaderFault::kField:
      return "a field out of range";
    case HeaderFault::kPayload:
      return "a payload whose size differs from the one announced";
  }
  return "?";
}

Header answer_to(const Header& request, MessageType type, std::uint64_t ps_epoch) {
  Header header;
  header.type = type;
  header.flags = request.flags & kChecksumData;
  header.worker = request.worker;
  header.incarnation = request.incarnation;
  header.sequence = request.sequence;
  header.container = request.container;
  header.ps_epoch = ps_epoch;
  return header;
}

std::uint64_t container_id(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001B3ULL;
  return hash;
}

}  // namespace distmnist
