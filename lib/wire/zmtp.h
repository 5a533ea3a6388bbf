// ZmtpPeer: one peer of a server, as ZMTP 3 has it (rfc.zeromq.org/spec/23 and 37): greeting, handshake, frames and
// heartbeats. Pure: bytes go in; messages, and bytes that are to be sent, come out. A peer's socket type has to be
// DEALER; its routing id is of no interest, for connections are told apart by numbers of the server's own.
//
// Nothing is allocated that the peer has not earned: the memory of a payload comes after its header has been found
// right, and only up to `max_payload`.
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
  // With keys the peer has to speak CURVE and have one of them; they outlive this.
  explicit ZmtpPeer(const ServerKeys* keys = nullptr);

  // Where the next bytes of the peer are to be read to; never empty.
  std::span<std::byte> space();
  // The first `size` bytes of space() have been written. Afterwards all of the following may have changed.
  void advance(std::size_t size);

  // The largest payload that is taken from now on. At first kMaxNewcomerPayload.
  void set_max_payload(std::size_t bytes) { max_payload_ = bytes; }

  // The next message that is whole. After one with a fault there is none any more.
  std::optional<Received> next();
  // Bytes to be sent that are no messages, since the last call: greeting, handshake, answers to heartbeats. They go out
  // before what is encoded later.
  std::vector<std::byte> take_replies() { return std::exchange(replies_, {}); }

  bool is_ready() const { return state_ == State::kReady; }  // the handshake is over: messages may be sent
  // Whose key the peer has proved to have, once it is ready; nothing without keys.
  std::optional<KeyOwner> key_owner() const;
  // A message with a fault has come: nothing more is read.
  bool is_over() const { return over_; }
  // Why the peer is no peer of ours; empty while it may be one. Nothing more is read then.
  const std::string& fault() const { return fault_; }

  // A message as it goes to this peer: `head`, and right after it the payload, which without keys is the message's own.
  // Checksums are computed where the header asks for them. Only once it is ready; in the order in which it is sent.
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

  // False where more bytes are needed, or nothing more is to come.
  void parse();
  bool parse_greeting();
  bool parse_frame_head();
  bool parse_frame();
  bool parse_sealed_frame();
  bool on_command(std::span<const std::byte> body);
  bool on_handshake(std::span<const std::byte> body);
  bool on_part(std::uint8_t flags, std::span<const std::byte> body);
  bool on_header(std::uint8_t flags, std::span<const std::byte> body);
  // Makes room for a payload of `size` bytes, before which `sealed_bytes` more come on the wire.
  bool make_room(std::size_t size, std::size_t sealed_bytes);
  bool begin_payload(std::size_t size, std::size_t sealed_bytes);
  bool end_payload();
  bool deliver(Received&& received);
  bool fail(std::string_view why);

  std::span<std::byte> buffered() { return std::span(buffer_).subspan(begin_, end_ - begin_); }
  // The body of the frame whose head has come, taken out of the buffer; nothing while it is not all there.
  std::optional<std::span<std::byte>> take_body();

  State state_ = State::kGreeting;
  Part part_ = Part::kHeader;
  std::unique_ptr<CurveServer> curve_;  // with keys
  std::size_t max_payload_;
  std::array<std::byte, 4096> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // of what is in the buffer and has not been looked at
  std::optional<FrameHead> head_;    // of the frame whose body comes next
  std::vector<std::byte> header_;    // the header frame of the message under way
  Header decoded_;                   // what it says, once its payload comes
  Frame payload_;
  std::span<std::byte> filling_;  // the payload's memory, with what seals it, while it comes
  std::size_t filled_ = 0;
  std::vector<Received> messages_;
  std::size_t taken_ = 0;
  std::vector<std::byte> replies_;
  std::string fault_;
  bool over_ = false;
};

// What somebody who has not yet said anything of ours may send in one payload.
inline constexpr std::size_t kMaxNewcomerPayload = 32 * 1024;

}  // namespace distmnist
