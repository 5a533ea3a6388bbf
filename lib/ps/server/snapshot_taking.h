// SnapshotTaking: the rules of a snapshot on one ps: all ps tasks copy the model after the same update. With several ps
// tasks, ps 0 makes no update from the chief's kSnapshotBegin until it has copied its part.
#pragma once

#include <optional>
#include <utility>

#include "lib/ps/server/ordered_run.h"
#include "lib/ps/server/run_state.h"

namespace distmnist {

// The longest time for which ps 0 makes no update: the chief may have died in the meantime.
inline constexpr TimeMs kSnapshotHoldMs = 2'000;
// Between two snapshots that need no hold.
inline constexpr TimeMs kSnapshotRestMs = 100;

class SnapshotTaking {
 public:
  // All must outlive it. No snapshot begins before rest_until_ms.
  SnapshotTaking(RunState& run, OrderedRun& ordered, TimeMs rest_until_ms)
      : run_(run), ordered_(ordered), rest_until_ms_(rest_until_ms) {}

  // Handles the chief's kSnapshotBegin or kSnapshotTake. Between two holds, training continues for at least as long as
  // the first one lasted, whatever the chief asks.
  void on_question(const Sender& from, Message&& message, TimeMs now);
  void tick(TimeMs now);
  // Whether commits wait until the ps tasks have copied the model.
  bool holds() const { return held_since_ms_.has_value(); }
  TimeMs rest_until_ms() const { return rest_until_ms_; }

 private:
  void on_begin(const Sender& from, const Header& header, TimeMs now);
  void on_take(const Sender& from, const Message& message, TimeMs now);
  void send_snapshot(const Route& route, const Header& request);
  void release(TimeMs now);

  RunState& run_;
  OrderedRun& ordered_;
  std::optional<TimeMs> held_since_ms_;                // on ps 0
  TimeMs rest_until_ms_;                               // no snapshot begins before this time
  std::optional<std::pair<Sender, Message>> put_off_;  // the chief's question, postponed until rest_until_ms_
};

}  // namespace distmnist
