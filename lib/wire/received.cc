#include "lib/wire/received.h"

#include <utility>

#include "lib/math/crc32c.h"

namespace distmnist {

Received make_received(const Header& header, Frame&& payload) {
  Received out{{header, {}}, HeaderFault::kNone};
  if ((header.flags & kPayloadChecksum) != 0 && crc32c(payload.bytes()) != header.payload_crc) {
    out.fault = HeaderFault::kChecksum;
    return out;
  }
  out.message.payload = std::move(payload);
  return out;
}

void seal(Message& message) {
  Header& header = message.header;
  header.payload_bytes = static_cast<std::uint32_t>(message.payload.size());
  header.flags &= ~kPayloadChecksum;
  if (header.dtype == WireDtype::kRecord || (header.flags & kChecksumData) != 0) {
    header.flags |= kPayloadChecksum;
    header.payload_crc = crc32c(message.payload.bytes());
  }
}

}  // namespace distmnist
