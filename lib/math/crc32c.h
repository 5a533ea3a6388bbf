// crc32c: CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected, RFC 3720 section 12.1), the checksum of messages and
// checkpoints.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace distmnist {

// The checksum of `bytes`, continued from that of the bytes before them: crc32c(b, crc32c(a)) is the checksum of a and
// b together. For "123456789" it is 0xE3069283. Uses the processor's instruction if it has one.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0);

// The same with tables only, for every processor.
std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t before = 0);

}  // namespace distmnist
