// CurveServer: the server's half of CURVE, ZeroMQ's security mechanism (rfc.zeromq.org 25 and 26), as rules without a
// socket: bodies of ZMTP frames go in, bodies and facts come out. The client's half is ZeroMQ's own.
//
//   client                                   server
//   HELLO     C', proof of C'         ->            C, S    lasting keys of client and server
//                                     <-   WELCOME  C', S'  keys of this connection alone
//   INITIATE  cookie, C, vouch, type  ->
//                                     <-   READY
//   MESSAGE   flags, payload         <->   MESSAGE
//
// The four are bodies of ZMTP command frames. A MESSAGE is the body of a plain frame, without the flag that more
// follows: the flags of what it carries are inside.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "lib/wire/keys.h"

namespace distmnist {

inline constexpr std::size_t kMaxCurveMetadataBytes = 1024;                         // of an INITIATE
inline constexpr std::size_t kMaxCurveCommandBytes = 257 + kMaxCurveMetadataBytes;  // the body of any command
inline constexpr std::size_t kCurveMessageBytes = 33;                               // a MESSAGE without its payload

// Flags within a MESSAGE, as a ZMTP frame has them.
inline constexpr std::uint8_t kCurveMore = 1;
inline constexpr std::uint8_t kCurveCommand = 2;

// The body of a command that a server may send before it hangs up on a peer it does not let in: ZeroMQ's client then
// knows that it is of no use to try again with the same keys.
inline constexpr std::string_view kCurveRefusal{
    "\5ERROR\3"
    "400",
    10};

// Why a connection has to end.
enum class CurveFault {
  kNone,
  kOrder,       // not the command that is due
  kSize,        // of the command
  kVersion,     // another CURVE
  kServerKey,   // a HELLO that was made for another ps, or tampered with
  kCookie,      // an INITIATE to another WELCOME
  kReplay,      // a number that has been used on this connection
  kSeal,        // what is sealed does not open
  kVouch,       // the client cannot prove that the lasting key is its own
  kUnknownKey,  // ... it is, but this ps does not know it
  kMetadata,    // not a list of names and values, or no socket type
  kSocketType,  // not a DEALER
};

// For the log: "a key that this ps does not know"
const char* to_string(CurveFault fault);

// One connection. One thread. After a fault every further call is answered by kOrder.
class CurveServer {
 public:
  // `keys` outlive it.
  explicit CurveServer(const ServerKeys& keys);
  ~CurveServer();
  CurveServer(const CurveServer&) = delete;
  CurveServer& operator=(const CurveServer&) = delete;

  struct Reply {
    CurveFault fault = CurveFault::kNone;
    std::vector<std::byte> body;  // of the command that answers, where there is no fault
  };
  // Takes the body of a command frame, its name included: HELLO, then INITIATE.
  Reply on_command(std::span<const std::byte> body);

  // Whether the client is known and messages may follow; it is once INITIATE has been answered.
  bool ready() const { return state_ == State::kReady; }
  // Whose key the client has; where ready().
  const KeyOwner& peer() const { return *peer_; }

  struct Opened {
    CurveFault fault = CurveFault::kNone;
    std::uint8_t flags = 0;        // kCurveMore, kCurveCommand
    std::span<std::byte> payload;  // within the body
  };
  // Decrypts the body of a MESSAGE where it lies; the payload is what is behind its first kCurveMessageBytes. So that
  // floats in it are aligned, the body is to begin that many bytes before an aligned address.
  Opened open(std::span<std::byte> body);

  // Writes a MESSAGE of this payload; `body` has its size and kCurveMessageBytes more, and does not overlap it.
  void seal(std::uint8_t flags, std::span<const std::byte> payload, std::span<std::byte> body);

 private:
  enum class State { kHello, kInitiate, kReady, kFailed };

  CurveFault on_hello(std::span<const std::byte> body, std::vector<std::byte>& welcome);
  CurveFault on_initiate(std::span<const std::byte> body, std::vector<std::byte>& ready);
  CurveFault open_message(std::span<std::byte> body, Opened& opened);
  // Looks at who the client says it is, in what was sealed in its INITIATE.
  CurveFault check_client(std::span<const std::byte> opened);
  CurveFault check_vouch(const Key& client, std::span<const std::byte> vouch) const;
  // False for a number that is not above the last one of this client.
  bool take_number(std::span<const std::byte> number);
  std::vector<std::byte> make_welcome();
  std::vector<std::byte> make_ready();

  static constexpr std::size_t kCookieBytes = 96;

  const ServerKeys& keys_;
  State state_ = State::kHello;
  KeyPair own_;       // S' and s', made for this connection once a HELLO has come
  Key peer_short_{};  // C'
  // What the client has to bring back: random bytes. RFC 26 puts the server's secrets into it, so that the server need
  // not remember anybody before INITIATE; a server of TCP connections remembers those anyway.
  std::array<std::byte, kCookieBytes> cookie_{};
  Key shared_{};  // the secret of C' and S', that seals messages
  std::optional<KeyOwner> peer_;
  std::uint64_t last_number_ = 0;  // of the client
  std::uint64_t next_number_ = 1;  // of ours
};

}  // namespace distmnist
