// Transfers messages between a harness and the code that it drives, like a network.
#pragma once

#include <cstdint>
#include <utility>

#include "lib/wire/frame.h"
#include "lib/wire/message.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/input.h"

namespace distmnist::fuzz {

// The message as the receiver's socket returns it. Checksums are correct, as an attacker would make them.
inline Received cross_network(Message&& message) {
  const DecodedHeader decoded = decode_header(encode_header(message.header), message.payload.size());
  if (decoded.fault != HeaderFault::kNone) return {{decoded.header, {}}, decoded.fault};
  return make_received(decoded.header, std::move(message.payload));
}

// Our own message must be one that the peer's socket does not drop.
inline void check_sendable(const Header& header, std::span<const std::byte> payload) {
  Message message{header, Frame::borrow(payload)};
  seal(message);
  check(cross_network(std::move(message)).fault == HeaderFault::kNone, "what is sent can be received");
}

// Replaces fields of a header with other numbers.
inline void tell_lies(Input& input, Header& header) {
  for (std::size_t lies = input.below(4); lies > 0; --lies) {
    switch (input.below(16)) {
      case 0:
        header.type = static_cast<MessageType>(input.byte());
        break;
      case 1:
        header.dtype = static_cast<WireDtype>(input.below(6));
        break;
      case 2:
        header.wants = static_cast<WireDtype>(input.below(6));
        break;
      case 3:
        header.slot = input.byte();
        break;
      case 4:
        header.flags ^= static_cast<std::uint16_t>(1u << input.below(16));
        break;
      case 5:
        header.worker = static_cast<std::uint32_t>(input.number());
        break;
      case 6:
        header.run = input.number();
        break;
      case 7:
        header.ps_epoch = input.number();
        break;
      case 8:
        header.lease = input.number();
        break;
      case 9:
        header.incarnation = input.number();
        break;
      case 10:
        header.sequence = input.number();
        break;
      case 11:
        header.container = input.number();
        break;
      case 12:
        header.commit = input.signed_number();
        break;
      case 13:
        header.step = input.signed_number();
        break;
      case 14:
        header.range_offset = input.signed_number();
        header.range_size = input.signed_number();
        break;
      case 15:
        header.samples = static_cast<std::uint32_t>(input.number());
        break;
    }
  }
}

}  // namespace distmnist::fuzz
