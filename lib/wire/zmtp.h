// ZmtpPeer: one peer of a server, according to ZMTP 3 (rfc.zeromq.org/spec/23 and 37): greeting, handshake, frames and
// heartbeats. A pure state machine: bytes go in; messages and bytes to send come out. A peer's socket type must be
// DEALER. Its routing id is ignored, because the server's own numbers tell connections apart.
//
// Nothing is allocated before the peer has earned it: the memory of a payload is allocated after its header has been
// checked, and only up to `max_payload`.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/wire/curve.h"
#include "lib/wire/frame.h"
#include "lib/wire/keys.h"
#include "lib/wire/message.h"

namespace distmnist {

class ZmtpPeer {
 public:
  // With keys, the peer must speak CURVE and have one of them. The keys must outlive this object.
  explicit ZmtpPeer(const ServerKeys* keys = nullptr);

  // Where the peer's next bytes must be read to; never empty.
  std::span<std::byte> space();
  // The first `size` bytes of space() have been written. The results of all functions below may change.
  void advance(std::size_t size);

  // The largest payload that is accepted from now on. Initially kMaxNewcomerPayload.
  void set_max_payload(std::size_t bytes) { max_payload_ = bytes; }

  // The next complete message. There are no more after one with a fault.
  std::optional<Received> next();
  // Bytes to send that are not messages, since the last call: greeting, handshake, answers to heartbeats. They must go
  // out before anything encoded later.
  std::vector<std::byte> take_replies() { return std::exchange(replies_, {}); }

  bool is_ready() const { return state_ == State::kReady; }  // the handshake is complete: messages may be sent
  // The owner of the key that the peer has proved to have, once it is ready; empty without keys.
  std::optional<KeyOwner> key_owner() const;
  // A message with a fault has arrived: nothing more is read.
  bool is_over() const { return over_; }
  // Why the peer is not one of ours; empty while it may be. If it is set, nothing more is read.
  const std::string& fault() const { return fault_; }

  // A message as it is sent to this peer: `head`, directly followed by the payload, which without keys is the message's
  // own. Checksums are computed if the header asks for them. Call only once the peer is ready, in the order of sending.
  struct Encoded {
    std::vector<std::byte> head;
    Frame payload;
  };
  Encoded encode(Message&& message);

 private:
  enum class State { kGreeting, kHandshake, kReady };
  enum class Part { kHeader, kPayload };
  struct FrameHead {
    std::uint8_t flags = 0;
    std::size_t size = 0;
  };

  // The functions below that return bool return false if they need more bytes, or if nothing more is to come.
  void parse();
  bool parse_greeting();
  bool parse_frame_head();
  bool parse_frame();
  bool parse_sealed_frame();
  bool on_command(std::span<const std::byte> body);
  bool on_handshake(std::span<const std::byte> body);
  bool on_part(std::uint8_t flags, std::span<const std::byte> body);
  bool on_header(std::uint8_t flags, std::span<const std::byte> body);
  // Makes room for a payload of `size` bytes, which `sealed_bytes` more bytes precede on the wire.
  bool make_room(std::size_t size, std::size_t sealed_bytes);
  bool begin_payload(std::size_t size, std::size_t sealed_bytes);
  bool end_payload();
  bool deliver(Received&& received);
  bool fail(std::string_view why);

  std::span<std::byte> buffered() { return std::span(buffer_).subspan(begin_, end_ - begin_); }
  // Takes the body of the frame in head_ out of the buffer; empty until the whole body is there.
  std::optional<std::span<std::byte>> take_body();

  State state_ = State::kGreeting;
  Part part_ = Part::kHeader;
  std::unique_ptr<CurveServer> curve_;  // with keys
  std::size_t max_payload_;
  std::array<std::byte, 4096> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // the part of the buffer that has not been parsed
  std::optional<FrameHead> head_;    // of the frame whose body comes next
  std::vector<std::byte> header_;    // the header frame of the current message
  Header decoded_;                   // header_ decoded, once the payload begins
  Frame payload_;
  std::span<std::byte> filling_;  // the payload's memory, with its encryption overhead, while it arrives
  std::size_t filled_ = 0;
  std::vector<Received> messages_;
  std::size_t taken_ = 0;
  std::vector<std::byte> replies_;
  std::string fault_;
  bool over_ = false;
};

// The largest payload from a peer that has not yet sent one of our messages.
inline constexpr std::size_t kMaxNewcomerPayload = 32 * 1024;

}  // namespace distmnist
