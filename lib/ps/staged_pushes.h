// StagedPushes: pushes that are whole on this ps and wait for the word of ps 0, in a run where it decides.
#pragma once

#include <map>

#include "lib/ps/control.h"
#include "lib/ps/push_collector.h"
#include "lib/ps/variable_store.h"

namespace distmnist {

class StagedPushes {
 public:
  // Keeps a push. Earlier ones of its worker that were computed from other parameters have been decided, and made where
  // they count, or this worker would not have got these parameters: they go.
  void stage(WholePush&& push);

  bool has(const PushId& id) const { return pushes_.contains(id); }
  bool has_all(const Update& update) const;
  const WholePush& at(const PushId& id) const { return pushes_.at(id); }
  void discard(const PushId& id) { pushes_.erase(id); }

  // Makes an update whose pushes are all here; they are used up.
  void make(const Update& update, VariableStore& store);

 private:
  std::map<PushId, WholePush> pushes_;
};

inline PushId id_of(const Header& header) {
  return {header.worker, {header.incarnation, header.sequence}};
}

}  // namespace distmnist
