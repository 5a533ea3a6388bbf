// SnapshotHold: the pushes that wait at one ps while all ps tasks agree on the moment of a snapshot.
#pragma once

#include <optional>
#include <vector>

#include "lib/base/time_ms.h"
#include "lib/ps/records/control.h"
#include "lib/ps/server/push_collector.h"

namespace distmnist {

// The longest time that pushes wait: a worker that died in the middle of a push would otherwise delay the others.
inline constexpr TimeMs kSnapshotHoldMs = 2'000;

class SnapshotHold {
 public:
  explicit SnapshotHold(TimeMs now) : since_ms_(now) {}

  TimeMs lasted_ms(TimeMs now) const { return now - since_ms_; }
  bool overdue(TimeMs now) const { return lasted_ms(now) >= kSnapshotHoldMs; }

  // The chief names the last push of each worker that belongs to the snapshot. The snapshot answers `request`. Returns
  // the waiting pushes that belong to it, in order of arrival. `current`: the present process of each worker.
  std::vector<WholePush> set_target(const Route& route, const Header& request, PushMarks target,
                                    const Processes& current);

  // The target and the request to answer, once there is one.
  struct Take {
    PushMarks target;
    Header request;
    Route route;
  };
  const std::optional<Take>& take() const { return take_; }

  // Whether a push of its worker's present process belongs to the snapshot and may be applied now.
  bool admits(const WholePush& push) const;
  // Holds a push. It replaces a waiting push of the same worker (a push may be sent again).
  void hold(WholePush&& push);
  // The waiting push of an earlier process of this worker, if any: it came before the pushes of `incarnation`.
  std::optional<WholePush> take_held_before(std::uint32_t worker, std::uint64_t incarnation);
  // Returns all waiting pushes, in order of arrival, and empties the hold.
  std::vector<WholePush> release();

 private:
  TimeMs since_ms_;
  std::optional<Take> take_;
  std::vector<WholePush> held_;
};

}  // namespace distmnist
