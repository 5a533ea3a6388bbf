// The meaning of a byte in the exchange's script. The fuzzer's input is a series of these bytes, each followed by its
// arguments (exchange_fuzz.cc reads it, seeds.cc writes it). With the bit kPsLies other numbers replace those in the
// ps's header.
#pragma once

#include <cstddef>
#include <cstdint>

namespace distmnist::fuzz {

enum class ExchangeAct : std::uint8_t {
  // The worker and its caller.
  kOpen,
  kBegin,        // which request, dtype of its answer
  kAddPush,      // chunk: added to a request that has begun
  kAddCommit,    // added to a request that has begun
  kEnd,          // end of the request
  kLeave,        // flag: with a reason
  kConnected,    // if a connection is wanted
  kUnreachable,  // if a connection is wanted
  kBroken,       // if there is a connection
  kTick,         // how long
  // The ps.
  kWelcome,   // state, flags
  kValues,    // slot, chunk, dtype, commit, a real for each float
  kAnswer,    // all parameters and, if expected, a token: dtype, commit
  kToken,     // flags, commit, how many samples, how many updates
  kNotice,    // text
  kSnapshot,  // which of the two, slot, commit, samples or updates
  kRefuse,    // code, text
  kPlain,     // type
  kRecord,    // type, payload: any bytes as a record
  kRawHeader  // 112 bytes, payload
};
inline constexpr std::size_t kExchangeActs = 20;
inline constexpr std::uint8_t kPsLies = 0x80;

}  // namespace distmnist::fuzz
