#include "lib/wire/message.h"

#include <utility>

#include "lib/math/crc32c.h"
#include "lib/wire/numbers.h"

namespace distmnist {

Received make_received(const Header& header, Frame&& payload) {
  Received out{{header, {}}, HeaderFault::kNone};
  if ((header.flags & kPayloadChecksum) != 0 && crc32c(payload.bytes()) != header.payload_crc) {
    out.fault = HeaderFault::kChecksum;
    return out;
  }
  if (header.type == MessageType::kPush && is_number(header.dtype)) {
    out.message.may_be_applied = may_be_applied({header.dtype, payload.bytes()});
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
