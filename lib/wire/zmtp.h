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
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/wire/frame.h"
#include "lib/wire/received.h"

namespace distmnist {

class ZmtpPeer {
 public:
  ZmtpPeer();

  // Where the next bytes of the peer are to be read to; never empty.
  std::span<std::byte> space();
  // The first `size` bytes of space() have been written. Afterwards next(), replies() and fault() may have changed.
  void advance(std::size_t size);

  // The largest payload that is taken from now on. At first kMaxNewcomerPayload.
  void set_max_payload(std::size_t bytes) { max_payload_ = bytes; }

  // The next message that is whole. After one with a fault there is none any more.
  std::optional<Received> next();
  // Bytes to be sent that are no messages, since the last call: greeting, handshake, answers to heartbeats.
  std::vector<std::byte> take_replies();

  bool is_ready() const { return state_ == State::kReady; }  // the handshake is over: messages may be sent
  // A message with a fault has come: nothing more is read.
  bool is_over() const { return over_; }
  // Why the peer is no peer of ours; empty while it may be one. Nothing more is read then.
  const std::string& fault() const { return fault_; }

  // A message as bytes: what goes before the payload, which follows as it is. The payload's checksum is computed where
  // the header asks for it.
  static std::vector<std::byte> encode_up_to_payload(Message& message);

 private:
  enum class State { kGreeting, kHandshake, kReady };
  enum class Part { kHeader, kPayload };
  struct FrameHead {
    std::uint8_t flags = 0;
    std::size_t size = 0;
  };

  void parse();
  bool parse_greeting();
  bool parse_frame();
  bool parse_command(std::span<const std::byte> body);
  bool parse_header(const FrameHead& head);
  bool begin_payload(const FrameHead& head);
  void end_payload();
  bool deliver_fault(HeaderFault fault, const Header& header = {});
  bool fail(std::string_view why);

  std::span<const std::byte> buffered() const { return std::span(buffer_).subspan(begin_, end_ - begin_); }
  void reply(std::span<const std::byte> bytes) { replies_.insert(replies_.end(), bytes.begin(), bytes.end()); }

  State state_ = State::kGreeting;
  Part part_ = Part::kHeader;
  std::size_t max_payload_;
  std::array<std::byte, 4096> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // of what is in the buffer and has not been looked at
  std::optional<FrameHead> head_;    // of the frame whose body comes next
  std::vector<std::byte> header_;    // the header frame of the message under way
  Header decoded_;                   // what it says, once its payload comes
  Frame payload_;
  std::size_t filled_ = 0;  // of the payload
  bool filling_ = false;
  std::vector<Received> messages_;
  std::size_t taken_ = 0;
  std::vector<std::byte> replies_;
  std::string fault_;
  bool over_ = false;  // a faulty message has come
};

// What somebody who has not yet said anything of ours may send in one payload.
inline constexpr std::size_t kMaxNewcomerPayload = 64 * 1024;

}  // namespace distmnist
