// Decodes bytes as one of the control records or as a header, selected by the first byte. An accepted record must be
// the same after it is encoded and decoded again.
#include <algorithm>
#include <array>
#include <optional>

#include "lib/ps/records/control.h"
#include "lib/wire/header.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/input.h"

namespace distmnist::fuzz {
namespace {

template <class Record>
void try_record(std::span<const std::byte> bytes) {
  const auto record = decode<Record>(bytes);
  if (!record) return;
  const Frame first = encode(*record);
  const auto again = decode<Record>(first.bytes());
  check(again.has_value(), "what was taken can be sent on");
  const Frame second = encode(*again);
  check(std::ranges::equal(first.bytes(), second.bytes()), "a record stays what it is");
}

void try_header(std::span<const std::byte> bytes) {
  const DecodedHeader decoded = decode_header(bytes, bytes.size() % 97);
  if (decoded.fault == HeaderFault::kNone) {
    check(std::ranges::equal(encode_header(decoded.header), bytes), "a header stays what it is");
  }
  if (bytes.size() < kHeaderBytes) return;
  // The same with the checksum that the sender would have computed.
  Header header;
  std::memcpy(static_cast<void*>(&header), bytes.data(), kHeaderBytes);
  const DecodedHeader sealed = decode_header(encode_header(header), header.payload_bytes);
  if (sealed.fault != HeaderFault::kNone) return;
  check(sealed.header.range_size >= 0 && sealed.header.range().end() >= 0, "a range is one");
  check(sealed.header.payload_bytes <= kMaxPayloadBytes, "a payload is not above the limit");
}

constexpr std::array kReaders = {try_header,
                                 try_record<HelloRecord>,
                                 try_record<WelcomeRecord>,
                                 try_record<RefuseRecord>,
                                 try_record<CreateRecord>,
                                 try_record<SnapshotRecord>,
                                 try_record<UpdatesRecord>,
                                 try_record<TokenRecord>,
                                 try_record<NoticeRecord>,
                                 try_record<ResetRecord>,
                                 try_record<ResetDoneRecord>,
                                 try_record<VariableRecord>,
                                 try_record<VariableAnswerRecord>};

}  // namespace
}  // namespace distmnist::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace distmnist::fuzz;
  Input input(data, size);
  const std::size_t reader = input.below(kReaders.size());
  kReaders[reader](input.rest());
  return 0;
}
