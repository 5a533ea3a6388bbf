// PushId and Update: how workers and ps tasks name pushes and updates to one another.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "lib/wire/header.h"

namespace distmnist {

// Identifies a push of a worker: its process and its sequence number. A later push of the same process has a larger
// sequence. The marks of two processes do not say which push is later.
struct PushMark {
  std::uint64_t incarnation = 0;
  std::uint64_t sequence = 0;
  bool same_process(const PushMark& other) const { return incarnation == other.incarnation; }
  bool before(const PushMark& other) const { return same_process(other) && sequence < other.sequence; }
  // For maps and for a fixed order of sums; it does not mean time.
  auto operator<=>(const PushMark&) const = default;
};
// The mark of a push with this header.
inline PushMark mark_of(const Header& header) {
  return {header.incarnation, header.sequence};
}

// Identifies one push.
struct PushId {
  std::uint32_t worker = 0;
  PushMark mark;
  auto operator<=>(const PushId&) const = default;
};
// The id of a push with this header.
inline PushId id_of(const Header& header) {
  return {header.worker, mark_of(header)};
}

// One update of the model, as decided by ps 0: the mean of the gradients of these pushes (summed in this order),
// applied with the learning rate times rate_factor.
struct Update {
  std::int64_t commit = 0;  // the shard's count of updates after it
  std::vector<PushId> pushes;
  float rate_factor = 1;
  bool operator==(const Update&) const = default;
};

}  // namespace distmnist
