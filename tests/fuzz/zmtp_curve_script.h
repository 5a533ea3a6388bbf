// What a byte of the script of a connection with keys stands for: the fuzzer's input is a row of these, each with what
// it needs behind it (zmtp_curve_fuzz.cc reads it, seeds.cc writes it). kTampered on top of one changes some of the
// bytes on their way.
#pragma once

#include <cstddef>
#include <cstdint>

namespace distmnist::fuzz {

enum class CurveAct : std::uint8_t {
  kGreeting,
  kHello,
  kWelcome,      // takes what the server has said
  kInitiate,     // bits: what it lies about; with bit 0, metadata
  kSealed,       // flags, bytes: sealed as they are
  kMessage,      // peer's header with lies, payload: sealed
  kPing,         // context: sealed
  kFrame,        // flags, bytes: not sealed
  kBytes,        // as they are
  kAnswer,       // the server sends a message
  kSkipNumbers,  // how many
  kKeep          // the peer may send large payloads from now on
};
inline constexpr std::size_t kCurveActs = 12;
inline constexpr std::uint8_t kTampered = 0x80;

}  // namespace distmnist::fuzz
