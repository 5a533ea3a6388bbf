// Which push it is: as workers and ps tasks name it to one another.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <vector>

#include "lib/wire/header.h"

namespace distmnist {

// A push of a worker: which process's, and which of its pushes. Of one process a later push has a larger sequence; of
// pushes of two processes the marks do not say which is the later one.
struct PushMark {
  std::uint64_t incarnation = 0;
  std::uint64_t sequence = 0;
  bool same_process(const PushMark& other) const { return incarnation == other.incarnation; }
  bool before(const PushMark& other) const { return same_process(other) && sequence < other.sequence; }
  // For maps and a fixed order of sums, not for time.
  auto operator<=>(const PushMark&) const = default;
};
// Of a push with this header.
inline PushMark mark_of(const Header& header) {
  return {header.incarnation, header.sequence};
}
using PushMarks = std::map<std::uint32_t, PushMark>;       // by worker index
using Processes = std::map<std::uint32_t, std::uint64_t>;  // incarnation by worker index

// One push, by name.
struct PushId {
  std::uint32_t worker = 0;
  PushMark mark;
  auto operator<=>(const PushId&) const = default;
};
// Of a push with this header.
inline PushId id_of(const Header& header) {
  return {header.worker, mark_of(header)};
}

// One update of the model, as ps 0 has decided it: the mean of the gradients of these pushes (in this order: the order
// of the sum), with the learning rate times rate_factor.
struct Update {
  std::int64_t commit = 0;  // the shard's count of updates afterwards
  std::vector<PushId> pushes;
  float rate_factor = 1;
  bool operator==(const Update&) const = default;
};

}  // namespace distmnist
