#include "lib/ps/snapshot_hold.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace distmnist {

std::vector<WholePush> SnapshotHold::set_target(const Route& route, const Header& request, PushMarks target) {
  take_ = Take{std::move(target), request, route};
  const auto waits_on =
      std::stable_partition(held_.begin(), held_.end(), [this](const WholePush& push) { return admits(push); });
  std::vector<WholePush> admitted(std::make_move_iterator(held_.begin()), std::make_move_iterator(waits_on));
  held_.erase(held_.begin(), waits_on);
  return admitted;
}

bool SnapshotHold::admits(const WholePush& push) const {
  if (!take_) return false;
  const auto limit = take_->target.find(push.header.worker);
  return limit != take_->target.end() && mark_of(push.header) <= limit->second;
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

std::vector<WholePush> SnapshotHold::release() {
  return std::exchange(held_, {});
}

}  // namespace distmnist
