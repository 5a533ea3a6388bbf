// StagedPushes: pushes that are whole on this ps and wait for the word of ps 0, in a run where it decides.
#pragma once

#include <cstddef>
#include <map>

#include "lib/ps/records/control.h"
#include "lib/ps/server/push_collector.h"
#include "lib/ps/store/variable_store.h"

namespace distmnist {

// Pushes that processes of one task may leave behind in one step, committed by nobody, when they die: another ps than 0
// cannot tell them from those that count.
inline constexpr std::size_t kMaxAbandonedPushes = 16;

class StagedPushes {
 public:
  // Of a worker at most max_per_worker pushes are kept.
  explicit StagedPushes(std::size_t max_per_worker = 1) : max_per_worker_(max_per_worker) {}

  // Keeps a push. Earlier ones of its worker that were computed from other parameters, and are not accepted, have been
  // decided, and made where they count, or this worker would not have got these parameters: they go. So does, above the
  // limit, the oldest that is not accepted; where there is none, the push itself is not kept.
  void stage(WholePush&& push);

  bool has(const PushId& id) const { return pushes_.contains(id); }
  bool has_all(const Update& update) const;
  const WholePush& at(const PushId& id) const { return pushes_.at(id).push; }
  // On ps 0: the push belongs to an update to come, and stays until that is made.
  void accept(const PushId& id) { pushes_.at(id).accepted = true; }
  // It belongs to no update; one that is accepted stays.
  void discard(const PushId& id);
  // The first push of the update that may not be applied; null where all may. They are all here.
  const WholePush* bad_one_of(const Update& update) const;

  // Makes an update whose pushes are all here; they are used up. Returns the first of them with the new parameters, in
  // its type, in the place of its gradient. `pool`: as of VariableStore::apply().
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
