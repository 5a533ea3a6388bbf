// SnapshotTaking: the rules of a snapshot on one ps: all ps tasks stop at the same pushes, and the chief gets a copy.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "lib/ps/server/ordered_run.h"
#include "lib/ps/server/run_state.h"
#include "lib/ps/server/snapshot_hold.h"

namespace distmnist {

// Between two snapshots that need no hold.
inline constexpr TimeMs kSnapshotRestMs = 100;

class SnapshotTaking {
 public:
  // All must outlive it. No snapshot begins before rest_until_ms.
  SnapshotTaking(RunState& run, Shard& shard, OrderedRun& ordered, TimeMs rest_until_ms)
      : run_(run), shard_(shard), ordered_(ordered), rest_until_ms_(rest_until_ms) {}

  // Handles the chief's kSnapshotBegin or kSnapshotTake. Between two holds, training continues for at least as long as
  // the first one lasted, whatever the chief asks.
  void on_question(const Sender& from, Message&& message, TimeMs now);
  void tick(TimeMs now);
  // Whether pushes wait until the ps tasks have agreed.
  bool holds() const { return hold_.has_value(); }
  // Applies a push that needs no decision. Returns false if the push has to wait.
  bool admit(WholePush&& push, TimeMs now);
  TimeMs rest_until_ms() const { return rest_until_ms_; }

 private:
  void on_begin(const Route& route, const Header& header, TimeMs now);
  void on_take(const Sender& from, const Message& message, TimeMs now);
  void try_take(bool whole_steps_only, TimeMs now);
  bool lacks(std::uint32_t worker, const PushMark& mark);
  bool has_left(std::uint32_t worker, const PushMark& mark) const;
  void give_up_push(std::uint32_t worker, const PushMark& mark);
  void send_snapshot(const Route& route, const Header& request);
  void release_hold(TimeMs now);
  SnapshotRecord progress() const;

  RunState& run_;
  Shard& shard_;
  OrderedRun& ordered_;
  std::optional<SnapshotHold> hold_;                   // while the ps tasks agree on a snapshot
  TimeMs rest_until_ms_;                               // no push is held again before this time
  std::optional<std::pair<Sender, Message>> put_off_;  // the chief's question, postponed until rest_until_ms_
};

}  // namespace distmnist
