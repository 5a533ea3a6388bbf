// SnapshotHold: the pushes that wait at one ps while all ps tasks agree on the moment of a snapshot.
#pragma once

#include <optional>
#include <vector>

#include "lib/base/time_ms.h"
#include "lib/ps/records/control.h"
#include "lib/ps/server/push_collector.h"

namespace distmnist {

// Pushes wait no longer than this: a worker that died in the middle of one would hold up the others.
inline constexpr TimeMs kSnapshotHoldMs = 2'000;

class SnapshotHold {
 public:
  explicit SnapshotHold(TimeMs now) : since_ms_(now) {}

  TimeMs lasted_ms(TimeMs now) const { return now - since_ms_; }
  bool overdue(TimeMs now) const { return lasted_ms(now) >= kSnapshotHoldMs; }

  // The chief names the last push of each worker that belongs to the snapshot; `request` is to be answered with it.
  // Returns the waiting pushes that belong to it, in order of arrival. `current`: the present process of each worker.
  std::vector<WholePush> set_target(const Route& route, const Header& request, PushMarks target,
                                    const Processes& current);

  // The target and whom to answer, once there is one.
  struct Take {
    PushMarks target;
    Header request;
    Route route;
  };
  const std::optional<Take>& take() const { return take_; }

  // Whether a push of its worker's present process may be applied now: it belongs to the snapshot.
  bool admits(const WholePush& push) const;
  // Keeps a push back; a push of the same worker that waits already (it was sent again) is replaced.
  void hold(WholePush&& push);
  // The push that waits of an earlier process of this worker, if any: it came before what `incarnation` pushes.
  std::optional<WholePush> take_held_before(std::uint32_t worker, std::uint64_t incarnation);
  // All that wait, in order of arrival; nothing waits afterwards.
  std::vector<WholePush> release();

 private:
  TimeMs since_ms_;
  std::optional<Take> take_;
  std::vector<WholePush> held_;
};

}  // namespace distmnist
