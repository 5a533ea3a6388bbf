#include "lib/ps/server/snapshot_hold.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace distmnist {

std::vector<WholePush> SnapshotHold::set_target(const Route& route, const Header& request, PushMarks target,
                                                const Processes& current) {
  take_ = Take{std::move(target), request, route};
  // The push of a process that has been replaced: the snapshot's mark is from its successor or from a later process.
  const auto is_of_old = [&](const WholePush& push) {
    const auto limit = take_->target.find(push.header.worker);
    const auto present = current.find(push.header.worker);
    return limit != take_->target.end() && limit->second.incarnation != push.header.incarnation &&
           present != current.end() && present->second != push.header.incarnation;
  };
  const auto waits_on = std::stable_partition(held_.begin(), held_.end(),
                                              [&](const WholePush& push) { return admits(push) || is_of_old(push); });
  std::vector<WholePush> admitted(std::make_move_iterator(held_.begin()), std::make_move_iterator(waits_on));
  held_.erase(held_.begin(), waits_on);
  return admitted;
}

bool SnapshotHold::admits(const WholePush& push) const {
  if (!take_) return false;
  const auto limit = take_->target.find(push.header.worker);
  if (limit == take_->target.end()) return false;
  const PushMark mark = mark_of(push.header);
  return mark == limit->second || mark.before(limit->second);
}

void SnapshotHold::hold(WholePush&& push) {
  const auto waiting =
      std::ranges::find_if(held_, [&](const WholePush& other) { return other.header.worker == push.header.worker; });
  if (waiting != held_.end()) {
    *waiting = std::move(push);
  } else {
    held_.push_back(std::move(push));
  }
}

std::optional<WholePush> SnapshotHold::take_held_before(std::uint32_t worker, std::uint64_t incarnation) {
  const auto held = std::ranges::find_if(held_, [&](const WholePush& push) {
    return push.header.worker == worker && push.header.incarnation != incarnation;
  });
  if (held == held_.end()) return std::nullopt;
  std::optional<WholePush> push = std::move(*held);
  held_.erase(held);
  return push;
}

std::vector<WholePush> SnapshotHold::release() {
  return std::exchange(held_, {});
}

}  // namespace distmnist
