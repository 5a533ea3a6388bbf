// StagedPushes: pushes that are complete on this ps and wait for the decision of ps 0, in a run in which it decides.
#pragma once

#include <cstddef>
#include <map>

#include "lib/ps/records/control.h"
#include "lib/ps/server/push_collector.h"
#include "lib/ps/store/variable_store.h"

namespace distmnist {

// Uncommitted pushes that processes of one task may leave behind in one step when they die: ps tasks other than 0
// cannot tell them from those that count.
inline constexpr std::size_t kMaxAbandonedPushes = 16;

class StagedPushes {
 public:
  // Keeps at most max_per_worker pushes for each worker.
  explicit StagedPushes(std::size_t max_per_worker = 1) : max_per_worker_(max_per_worker) {}

  // Keeps a push. Drops earlier pushes of its worker that were computed from different parameters and are not accepted:
  // they have been decided, and applied if they count, because the worker would not have these parameters otherwise.
  // Above the limit, also drops the oldest push that is not accepted; if there is none, the new push is not kept.
  void stage(WholePush&& push);

  bool has(const PushId& id) const { return pushes_.contains(id); }
  bool has_all(const Update& update) const;
  const WholePush& at(const PushId& id) const { return pushes_.at(id).push; }
  // On ps 0: the push belongs to a future update, and stays until that is made.
  void accept(const PushId& id) { pushes_.at(id).accepted = true; }
  // The push belongs to no update. An accepted push stays.
  void discard(const PushId& id);
  // The first push of the update that must not be applied; null if all may be. All of them must be here.
  const WholePush* bad_one_of(const Update& update) const;

  // Applies an update whose pushes are all here, and consumes them. Returns the first of them with the new parameters,
  // in its number type, in place of its gradient. `pool`: as for VariableStore::apply().
  WholePush make(const Update& update, VariableStore& store, ThreadPool* pool);

 private:
  struct Staged {
    WholePush push;
    bool accepted = false;
  };
  std::size_t max_per_worker_;
  std::map<PushId, Staged> pushes_;
};

}  // namespace distmnist
