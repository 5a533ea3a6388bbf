#include "lib/math/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace distmnist {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // reflected

using Table = std::array<std::uint32_t, 256>;

// tables[k][b]: the register after byte b and k zero bytes, from an empty register.
constexpr std::array<Table, 8> make_byte_tables() {
  std::array<Table, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t crc = tables[k - 1][byte];
      tables[k][byte] = (crc >> 8) ^ tables[0][crc & 0xFF];
    }
  }
  return tables;
}
constexpr std::array<Table, 8> kByteTables = make_byte_tables();

// Eight bytes in each round (Kounavis and Berry, "Novel table lookup-based algorithms for high-performance CRC
// generation").
std::uint32_t update_by_tables(std::uint32_t crc, const std::byte* data, std::size_t size) {
  for (; size >= 8; data += 8, size -= 8) {
    std::array<std::uint8_t, 8> b;
    std::memcpy(b.data(), data, 8);
    for (std::size_t i = 0; i < 4; ++i) b[i] ^= static_cast<std::uint8_t>(crc >> (8 * i));
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= kByteTables[7 - i][b[i]];
  }
  for (; size > 0; ++data, --size) crc = (crc >> 8) ^ kByteTables[0][(crc ^ static_cast<std::uint8_t>(*data)) & 0xFF];
  return crc;
}

#if defined(__x86_64__)
// The instruction takes 3 cycles and one can start in each cycle, so three stripes of the input are read in parallel.
// The registers of the first two are then shifted past the bytes that follow them, which is linear and uses tables.
constexpr std::size_t kStripe = 4096;  // bytes

// shift[k][b]: the register whose byte k is b, after kStripe zero bytes.
std::array<Table, 4> make_stripe_tables() {
  const std::array<std::byte, kStripe> zeros{};
  std::array<Table, 4> shift{};
  for (std::uint32_t k = 0; k < 4; ++k) {
    for (std::uint32_t bit = 1; bit < 256; bit *= 2) {
      const std::uint32_t moved = update_by_tables(bit << (8 * k), zeros.data(), kStripe);
      for (std::uint32_t low = 0; low < bit; ++low) shift[k][bit + low] = shift[k][low] ^ moved;
    }
  }
  return shift;
}

std::uint32_t over_stripe(const std::array<Table, 4>& shift, std::uint32_t crc) {
  return shift[0][crc & 0xFF] ^ shift[1][(crc >> 8) & 0xFF] ^ shift[2][(crc >> 16) & 0xFF] ^ shift[3][crc >> 24];
}

std::uint64_t load64(const std::byte* data) {
  std::uint64_t word;
  std::memcpy(&word, data, sizeof(word));
  return word;
}

__attribute__((target("sse4.2"))) std::uint32_t update_by_instruction(std::uint32_t crc, const std::byte* data,
                                                                      std::size_t size) {
  static const std::array<Table, 4> shift = make_stripe_tables();
  for (; size >= 3 * kStripe; data += 3 * kStripe, size -= 3 * kStripe) {
    std::uint64_t first = crc, second = 0, third = 0;
    for (std::size_t i = 0; i < kStripe; i += 8) {
      first = _mm_crc32_u64(first, load64(data + i));
      second = _mm_crc32_u64(second, load64(data + kStripe + i));
      third = _mm_crc32_u64(third, load64(data + 2 * kStripe + i));
    }
    const std::uint32_t joined =
        over_stripe(shift, static_cast<std::uint32_t>(first)) ^ static_cast<std::uint32_t>(second);
    crc = over_stripe(shift, joined) ^ static_cast<std::uint32_t>(third);
  }
  std::uint64_t wide = crc;
  for (; size >= 8; data += 8, size -= 8) wide = _mm_crc32_u64(wide, load64(data));
  crc = static_cast<std::uint32_t>(wide);
  for (; size > 0; ++data, --size) crc = _mm_crc32_u8(crc, static_cast<std::uint8_t>(*data));
  return crc;
}

bool has_instruction() {
  static const bool has = __builtin_cpu_supports("sse4.2");
  return has;
}
#endif

}  // namespace

std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t before) {
  return ~update_by_tables(~before, bytes.data(), bytes.size());
}

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before) {
#if defined(__x86_64__)
  if (has_instruction()) return ~update_by_instruction(~before, bytes.data(), bytes.size());
#endif
  return crc32c_portable(bytes, before);
}

}  // namespace distmnist
