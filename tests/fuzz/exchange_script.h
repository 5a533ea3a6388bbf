// What a byte of the exchange's script stands for: the fuzzer's input is a row of these, each with what it needs behind
// it (exchange_fuzz.cc reads it, seeds.cc writes it). kPsLies on top of one puts other numbers into the ps's header.
#pragma once

#include <cstddef>
#include <cstdint>

namespace distmnist::fuzz {

enum class ExchangeAct : std::uint8_t {
  // The worker and its shell.
  kOpen,
  kBegin,        // which request, dtype of its answer
  kAddPush,      // chunk: to a request that has begun
  kAddCommit,    // to a request that has begun
  kEnd,          // of the request
  kLeave,        // flag: with a reason
  kConnected,    // where a connection is wanted
  kUnreachable,  // likewise
  kBroken,       // where there is a connection
  kTick,         // how long
  // The ps.
  kWelcome,   // state, flags
  kValues,    // slot, chunk, dtype, commit, a real for each float
  kAnswer,    // all parameters, and where it is due a token: dtype, commit
  kToken,     // flags, commit, how many samples, how many updates
  kNotice,    // text
  kSnapshot,  // which of the two, slot, commit, marks
  kRefuse,    // code, text
  kPlain,     // type
  kRecord,    // type, payload: any bytes as a record
  kRawHeader  // 112 bytes, payload
};
inline constexpr std::size_t kExchangeActs = 20;
inline constexpr std::uint8_t kPsLies = 0x80;

}  // namespace distmnist::fuzz
