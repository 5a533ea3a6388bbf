// Header: the fixed header of every message. docs/protocol.md is the specification. A message is this header and one
// payload frame of at most kMaxPayloadBytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "lib/base/range.h"

namespace distmnist {

inline constexpr std::uint32_t kMagic = 0x4E4D4944;  // "DIMN"
inline constexpr std::uint16_t kProtocolVersion = 5;
inline constexpr std::size_t kHeaderBytes = 112;
inline constexpr std::size_t kMaxPayloadBytes = 1u << 20;
inline constexpr std::int64_t kMaxPayloadFloats = kMaxPayloadBytes / sizeof(float);  // numbers of any type

enum class MessageType : std::uint8_t {
  // worker -> ps
  kHello = 1,          // HelloRecord: identifies the process
  kCreate = 2,         // CreateRecord: the chief's model, followed by kLoad and kCreateEnd
  kLoad = 3,           // initial values of a range of the parameters (slot 0) or of slot 1, 2, ...
  kCreateEnd = 4,      // answered by kWelcome once every range has arrived
  kPull = 5,           // answered by kParameters, one for each chunk
  kPush = 6,           // a gradient chunk; a complete push is answered by kParameters, one for each chunk
  kSnapshotBegin = 7,  // to ps 0, if there are others: make no update for now; answered by kSnapshotPoint
  kSnapshotTake = 8,   // UpdatesRecord: make these updates, then copy; answered by kSnapshotData and kSnapshotEnd
  kAwaitOthers = 9,    // answered by kOthersDone once every other worker is done
  kDone = 10,          // this worker is done; answered by kDoneAck
  kLeave = 11,         // this process leaves, but its task is not done; with a RefuseRecord, the run has failed; not
                       // answered
  kPing = 12,          // answered by kPong; keeps the lease
  kJoin = 13,          // to ps 0: this worker wants to compute; answered by kToken and kParameters when it may
  kCommit = 14,        // to ps 0: the push is complete everywhere else; answered like kJoin
  kAdvance = 15,       // UpdatesRecord, to the other ps tasks: apply these updates; answered by kParameters
  // client outside any run -> ps
  kReset = 16,     // ResetRecord: drop containers; answered by kResetDone
  kVariable = 17,  // VariableRecord: a question about shared variables; answered by kVariableAnswer
  // ps -> worker
  kWelcome = 32,  // WelcomeRecord: answers kHello, and is sent again when the model becomes ready
  kRefuse = 33,   // RefuseRecord: exit code and reason
  kStale = 34,    // the run, epoch, lease or incarnation is not the current one: send a new hello
  kParameters = 35,
  kSnapshotPoint = 36,  // UpdatesRecord: the updates that every ps must have made
  kSnapshotData = 37,
  kSnapshotEnd = 38,  // SnapshotRecord; slot is the number of slots
  kOthersDone = 39,
  kDoneAck = 40,
  kPong = 41,
  kProbe = 42,   // asks whether this incarnation is alive; answered by kPing
  kStaged = 43,  // the push is complete here and waits for ps 0's decision
  kToken = 44,   // TokenRecord: the worker may compute a batch; followed by kParameters
  kNotice = 45,  // NoticeRecord: why an answer is slow
  // ps -> client outside any run
  kResetDone = 46,       // ResetDoneRecord
  kVariableAnswer = 47,  // VariableAnswerRecord
};

// The content of a payload: nothing, a record, or numbers (lib/wire/numbers.h).
enum class WireDtype : std::uint8_t { kNone = 0, kRecord = 1, kF32 = 2, kBf16 = 3, kF16 = 4 };

// Flags of the header.
inline constexpr std::uint16_t kPayloadChecksum = 1;  // payload_crc is set
inline constexpr std::uint16_t kChecksumData = 2;     // this peer is across a network: data frames are checked in both
                                                      // directions
// In kStaged: a number of the push must not be applied. In kCommit: this is so on some ps, or the batch's loss is not
// finite.
inline constexpr std::uint16_t kNotFinite = 4;
inline constexpr std::uint16_t kLacksChief = 16;  // in messages from a ps: its run has had no chief for a while
inline constexpr std::uint16_t kIsStuck = 8;      // in kPing: the worker's computation makes no progress; `step` is the
                                                  // last one, `samples` the seconds

// In memory as on the wire: little-endian, no padding (checked below).
struct Header {
  std::uint32_t magic = kMagic;
  std::uint16_t version = kProtocolVersion;
  MessageType type = MessageType::kPing;
  WireDtype wants = WireDtype::kF32;  // in a request: the number type for the parameters in its answer
  WireDtype dtype = WireDtype::kNone;
  std::uint8_t slot = 0;  // 0: parameters or gradient; 1 and above: optimizer slots
  std::uint16_t flags = 0;
  std::uint32_t worker = 0;       // task index of the sender, or of the worker that is answered
  std::uint64_t run = 0;          // drawn by the chief when it creates the model
  std::uint64_t ps_epoch = 0;     // drawn by a ps when it starts
  std::uint64_t lease = 0;        // drawn by the ps for its welcome; told to no other process
  std::uint64_t incarnation = 0;  // drawn by a worker when it starts; not 0. It tells processes apart but does not
                                  // order them
  std::uint64_t sequence = 0;     // of the worker's requests, starting at 1; an answer repeats it
  std::uint64_t container = 0;    // container_id(name)
  std::int64_t commit = 0;        // updates this shard has applied
  std::int64_t step = 0;          // global_step of the parameters used (push) or sent (parameters)
  std::int64_t range_offset = 0;  // in numbers, from the start of the whole parameter block
  std::int64_t range_size = 0;    // in numbers
  std::uint32_t payload_bytes = 0;
  std::uint32_t payload_crc = 0;  // CRC-32C, if kPayloadChecksum is set
  std::uint32_t samples = 0;      // push, commit: samples in the batch of the gradient
  std::uint32_t header_crc = 0;   // CRC-32C of the bytes before it

  Range range() const { return {range_offset, range_size}; }
};
static_assert(sizeof(Header) == kHeaderBytes && offsetof(Header, run) == 16 && offsetof(Header, header_crc) == 108);

// The header's bytes, with header_crc computed.
std::array<std::byte, kHeaderBytes> encode_header(const Header& header);

enum class HeaderFault { kNone, kSize, kMagic, kVersion, kChecksum, kField, kPayload };

struct DecodedHeader {
  Header header;  // valid if fault is kNone; for kVersion only its version is
  HeaderFault fault = HeaderFault::kNone;
};

// Checks everything that does not depend on the receiver's state: size, magic, version, checksum, known type and dtype,
// a payload of the announced size within the limit, a range that fits the payload. Never throws.
DecodedHeader decode_header(std::span<const std::byte> bytes, std::size_t payload_bytes);

const char* to_string(HeaderFault fault);

// The header of an answer of `type`, to the worker, process and request in `request`, from the ps with this epoch. Run,
// lease, commit and step are left at 0.
Header answer_to(const Header& request, MessageType type, std::uint64_t ps_epoch);

// The number that identifies a container in a header: 64-bit FNV-1a of its name.
std::uint64_t container_id(std::string_view name);

}  // namespace distmnist
