// What a byte of the ps core's script stands for: the fuzzer's input is a row of these, each with what it needs behind
// it (ps_core_fuzz.cc reads it, seeds.cc writes it). kWithLies on top of one puts other numbers into the header.
#pragma once

#include <cstddef>
#include <cstdint>

namespace distmnist::fuzz {

enum class PsAct : std::uint8_t {
  kHello,      // peer, flags, of which 0x80: how many parameters
  kCreate,     // peer, kind of optimizer, strategy's bits, its numbers
  kLoad,       // peer, slot, chunk, a real for each float
  kCreateEnd,  // peer
  kModel,      // peer, kind of optimizer, strategy's bits, its numbers: all three at once
  kPushChunk,  // peer, dtype, chunk, a real for each float
  kPush,       // peer, dtype, a real for each float: the whole of the next push
  kAsk,        // peer, which question
  kAdvance,    // peer, dropped, updates: how many, of each commit, rate, whose pushes
  kTake,       // peer, marks: how many, of each worker, incarnation, sequence; updates
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
