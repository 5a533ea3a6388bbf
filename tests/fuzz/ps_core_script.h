// The meaning of a byte in the ps core's script. The fuzzer's input is a series of these bytes, each followed by its
// arguments (ps_core_fuzz.cc reads it, seeds.cc writes it). With the bit kWithLies other numbers replace those in the
// header.
#pragma once

#include <cstddef>
#include <cstdint>

namespace distmnist::fuzz {

enum class PsAct : std::uint8_t {
  kHello,      // peer, flags; with 0x80 also the number of parameters
  kCreate,     // peer, kind of optimizer, strategy's bits, its numbers
  kLoad,       // peer, slot, chunk, a real for each float
  kCreateEnd,  // peer
  kModel,      // peer, kind of optimizer, strategy's bits, its numbers: all three at once
  kPushChunk,  // peer, dtype, chunk, a real for each float
  kPush,       // peer, dtype, a real for each float: the complete next push
  kAsk,        // peer, which question
  kAdvance,    // peer, dropped, updates: how many; for each its commit, rate and pushes
  kTake,       // peer, updates
  kLeave,      // peer, exit code, text
  kReset,      // peer, how many containers, each a number of kContainers
  kVariable,   // peer, action, flags, name, value
  kRecord,     // peer, type, payload: any bytes as a record
  kRawHeader,  // peer, 112 bytes, payload
  kTick,       // how long
  kSignal,     // which
  kNewRoute,   // peer
  kNewProcess  // peer
};
inline constexpr std::size_t kPsActs = 19;
inline constexpr std::uint8_t kWithLies = 0x80;

}  // namespace distmnist::fuzz
