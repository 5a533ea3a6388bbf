// The meaning of a byte in the script of a connection with keys. The fuzzer's input is a series of these bytes, each
// followed by its arguments (zmtp_curve_fuzz.cc reads it, seeds.cc writes it). With the bit kTampered some of the bytes
// are changed in transit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace distmnist::fuzz {

enum class CurveAct : std::uint8_t {
  kGreeting,
  kHello,
  kWelcome,      // processes the server's answer
  kInitiate,     // bits: which parts are wrong; with bit 0, metadata
  kSealed,       // flags, bytes: sealed without changes
  kMessage,      // peer's header with lies, payload: sealed
  kPing,         // context: sealed
  kFrame,        // flags, bytes: not sealed
  kBytes,        // sent without changes
  kAnswer,       // the server sends a message
  kSkipNumbers,  // how many
  kKeep          // the peer can send large payloads from now on
};
inline constexpr std::size_t kCurveActs = 12;
inline constexpr std::uint8_t kTampered = 0x80;

}  // namespace distmnist::fuzz
