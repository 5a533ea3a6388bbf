// SnapshotHold: the pushes that wait at one ps while all ps tasks agree on the moment of a snapshot.
#pragma once

#include <optional>
#include <vector>

#include "lib/base/clock.h"
#include "lib/ps/control.h"
#include "lib/ps/push_collector.h"

namespace distmnist {

// Pushes wait no longer than this: a worker that died in the middle of one would hold up the others.
inline constexpr TimeMs kSnapshotHoldMs = 2'000;

class SnapshotHold {
 public:
  explicit SnapshotHold(TimeMs now) : since_ms_(now) {}

  void restart(TimeMs now) { since_ms_ = now; }
  bool overdue(TimeMs now) const { return now - since_ms_ >= kSnapshotHoldMs; }

  // The chief names the last push of each worker that belongs to the snapshot; `request` is to be answered with it.
  // Returns the waiting pushes that belong to it, in order of arrival.
  std::vector<WholePush> set_target(const Route& route, const Header& request, PushMarks target);

  // The target and whom to answer, once there is one.
  struct Take {
    PushMarks target;
    Header request;
    Route route;
  };
  const std::optional<Take>& take() const { return take_; }

  // Whether a push may be applied now: it belongs to the snapshot.
  bool admits(const WholePush& push) const;
  // Keeps a push back; a push of the same worker that waits already (it was sent again) is replaced.
  void hold(WholePush&& push);
  // All that wait, in order of arrival; nothing waits afterwards.
  std::vector<WholePush> release();

 private:
  TimeMs since_ms_;
  std::optional<Take> take_;
  std::vector<WholePush> held_;
};

// What is remembered of a push once it has been applied.
inline PushMark mark_of(const Header& header) {
  return {header.incarnation, header.sequence};
}

}  // namespace distmnist
