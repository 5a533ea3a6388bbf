// OrderedRun: the rules of a run in which ps 0 decides. Pushes are staged on every ps, committed at ps 0, and applied
// everywhere in the order of its updates. A worker is answered when its turn comes. (In a run in which each ps applies
// pushes by itself, ps 0 still decides when a worker may begin.)
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/ps/server/run_state.h"
#include "lib/ps/server/staged_pushes.h"
#include "lib/ps/server/turns.h"

namespace distmnist {

// Updates that ps 0 tells the others about, and pushes in them: as many as fit in a message.
inline constexpr std::size_t kMaxUpdatesToTell = 4096, kMaxPushesToTell = 32 * 1024;
// Applied updates that a ps other than 0 remembers, so that it notices if it is told of different ones.
inline constexpr std::size_t kMaxMadeUpdates = 1024;

class OrderedRun {
 public:
  // Both must outlive it.
  OrderedRun(RunState& run, Shard& shard, TimeMs now);

  // ---- On every ps ----
  // A push is complete on this ps.
  void stage(WholePush&& push);
  // A worker delivers ps 0's updates.
  void on_advance(const Sender& from, const Message& message);
  // Applies the updates that this ps has not applied yet. Refuses and returns false if it cannot.
  bool make_updates(const Sender& from, const Header& request, const std::vector<Update>& updates);

  // ---- On ps 0; no effect on others ----
  void on_join(const Route& route, const Header& header, TimeMs now);
  // A push is complete everywhere. `held`: no update is made during a snapshot; release_commits() then decides the
  // push.
  void on_commit(const Sender& from, const Header& header, bool held, TimeMs now);
  void release_commits(TimeMs now);
  // The model was updated by a push that needs no decision.
  void note_update(TimeMs now);
  // Those that another ps may not have applied yet.
  const std::vector<Update>& updates() const { return updates_; }
  // A worker's process is back, or no longer takes part.
  void arrive(std::uint32_t worker);
  void depart(std::uint32_t worker, TimeMs now);
  // The worker is done: no other worker waits for it.
  void retire(std::uint32_t worker, TimeMs now);
  void tick(TimeMs now);

 private:
  bool contradicts(const Update& update) const;
  void make(const Update& update);
  void remember_made(const Update& update);
  std::string fault_of_commit(const Header& header) const;
  bool has_room_for_update() const;
  void note_told(const Header& question);
  void decide(const Route& route, Header commit, TimeMs now);
  void count_skipped(const Header& commit, const WholePush& push);
  void go_on(TimeMs now);

  RunState& run_;
  Shard& shard_;
  std::optional<Turns> turns_;  // only on ps 0
  StagedPushes staged_;
  std::vector<Update> updates_;                          // on ps 0: those that another ps may not have applied yet
  std::deque<Update> made_;                              // on other ps tasks: the most recent ones
  std::vector<std::pair<Sender, Header>> held_commits_;  // on ps 0; at most one for each worker
};

}  // namespace distmnist
