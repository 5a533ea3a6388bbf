// CurveServer: the server side of CURVE, ZeroMQ's security mechanism (rfc.zeromq.org 25 and 26), as rules without a
// socket: bodies of ZMTP frames go in, bodies and facts come out. The client side is ZeroMQ's own.
//
//   client                                   server
//   HELLO     C', proof of C'         ->            C, S    long-term keys of client and server
//                                     <-   WELCOME  C', S'  keys of this connection alone
//   INITIATE  cookie, C, vouch, type  ->
//                                     <-   READY
//   MESSAGE   flags, payload         <->   MESSAGE
//
// HELLO, WELCOME, INITIATE and READY are bodies of ZMTP command frames. A MESSAGE is the body of a plain frame without
// the MORE flag: the flags of its content are inside.
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

inline constexpr std::size_t kMaxCurveMetadataBytes = 1024;                         // in an INITIATE
inline constexpr std::size_t kMaxCurveCommandBytes = 257 + kMaxCurveMetadataBytes;  // the body of any command
inline constexpr std::size_t kCurveMessageBytes = 33;                               // a MESSAGE without its payload

// Flags within a MESSAGE, as in a ZMTP frame.
inline constexpr std::uint8_t kCurveMore = 1;
inline constexpr std::uint8_t kCurveCommand = 2;

// The body of a command that a server may send before it hangs up on a peer that may not connect. It tells ZeroMQ's
// client that another attempt with the same keys is useless.
inline constexpr std::string_view kCurveRefusal{
    "\5ERROR\3"
    "400",
    10};

// Why a connection must end.
enum class CurveFault {
  kNone,
  kOrder,       // not the expected command
  kSize,        // wrong size of the command
  kVersion,     // a different version of CURVE
  kServerKey,   // a HELLO for a different ps, or one that was tampered with
  kCookie,      // an INITIATE for a different WELCOME
  kReplay,      // a number that was already used on this connection
  kSeal,        // an encrypted part does not open
  kVouch,       // the client cannot prove that it owns the long-term key
  kUnknownKey,  // it can, but this ps does not know the key
  kMetadata,    // not a list of names and values, or without a socket type
  kSocketType,  // not a DEALER
};

// For the log: "a key that this ps does not know"
const char* to_string(CurveFault fault);

// One connection. Not thread-safe. After a fault, every further call returns kOrder.
class CurveServer {
 public:
  // `keys` must outlive it.
  explicit CurveServer(const ServerKeys& keys);
  ~CurveServer();
  CurveServer(const CurveServer&) = delete;
  CurveServer& operator=(const CurveServer&) = delete;

  struct Reply {
    CurveFault fault = CurveFault::kNone;
    std::vector<std::byte> body;  // of the command to answer with, if there is no fault
  };
  // Takes the body of a command frame, including its name: HELLO, then INITIATE.
  Reply on_command(std::span<const std::byte> body);

  // Whether the client is known and messages may follow: true once INITIATE has been answered.
  bool ready() const { return state_ == State::kReady; }
  // The owner of the client's key. Only valid if ready().
  const KeyOwner& peer() const { return *peer_; }

  struct Opened {
    CurveFault fault = CurveFault::kNone;
    std::uint8_t flags = 0;        // kCurveMore, kCurveCommand
    std::span<std::byte> payload;  // within the body
  };
  // Decrypts the body of a MESSAGE in place. The payload follows the first kCurveMessageBytes. To align floats in the
  // payload, the body must start that many bytes before an aligned address.
  Opened open(std::span<std::byte> body);

  // Writes a MESSAGE with this payload. `body` is kCurveMessageBytes larger than the payload and does not overlap it.
  void seal(std::uint8_t flags, std::span<const std::byte> payload, std::span<std::byte> body);

 private:
  enum class State { kHello, kInitiate, kReady, kFailed };

  CurveFault on_hello(std::span<const std::byte> body, std::vector<std::byte>& welcome);
  CurveFault on_initiate(std::span<const std::byte> body, std::vector<std::byte>& ready);
  CurveFault open_message(std::span<std::byte> body, Opened& opened);
  // Checks the client's identity in the encrypted part of its INITIATE.
  CurveFault check_client(std::span<const std::byte> opened);
  CurveFault check_vouch(const Key& client, std::span<const std::byte> vouch) const;
  // False for a number that is not above this client's last one.
  bool take_number(std::span<const std::byte> number);
  std::vector<std::byte> make_welcome();
  std::vector<std::byte> make_ready();

  static constexpr std::size_t kCookieBytes = 96;

  const ServerKeys& keys_;
  State state_ = State::kHello;
  KeyPair own_;       // S' and s', made for this connection after a HELLO
  Key peer_short_{};  // C'
  // Random bytes that the client must send back. RFC 26 puts the server's secrets into the cookie so that the server
  // does not need to remember clients before INITIATE; a server of TCP connections remembers them anyway.
  std::array<std::byte, kCookieBytes> cookie_{};
  Key shared_{};  // the secret of C' and S', which encrypts messages
  std::optional<KeyOwner> peer_;
  std::uint64_t last_number_ = 0;  // from the client
  std::uint64_t next_number_ = 1;  // from this side
};

}  // namespace distmnist
