// Container: the rules of one run on one ps: who takes part, when the model is ready, which pushes are applied, when a
// snapshot is whole, when the run is over. A pure state machine: a message or the time goes in, PsActions come out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/ps/membership.h"
#include "lib/ps/ps_actions.h"
#include "lib/ps/published_parameters.h"
#include "lib/ps/push_collector.h"
#include "lib/ps/snapshot_hold.h"
#include "lib/ps/staged_pushes.h"
#include "lib/ps/turns.h"
#include "lib/ps/variable_store.h"

namespace distmnist {

// The largest shard a ps accepts, in floats with slots: 16 GiB.
inline constexpr std::int64_t kMaxShardFloats = std::int64_t{1} << 32;

struct PsIdentity {
  std::uint32_t index = 0;
  std::uint32_t num_ps = 1;
  std::uint32_t num_workers = 1;
  std::uint64_t epoch = 0;  // drawn when the process starts
  // --ps_stay: serves any number of containers until a signal comes; each has the number of workers its first hello
  // says.
  bool stay = false;
};

struct PsLimits {
  TimeMs recovery_wait_ms = 120'000;  // how long a run goes on without any live worker, and a worker waits for others
};

class Container {
 public:
  // `pool`: threads that share the work of an update; null: only the caller's. It outlives the container.
  Container(const PsIdentity& identity, const PsLimits& limits, PsActions& actions, ThreadPool* pool = nullptr)
      : ps_(identity), limits_(limits), actions_(actions), pool_(pool), members_(identity.num_workers) {}

  // A message whose header has been checked and that is meant for this container.
  void on_message(const Route& route, Message&& message, TimeMs now);
  void on_tick(TimeMs now);

  bool has_model() const { return store_.has_value(); }
  bool ended() const { return store_.has_value() && members_.all_done(); }
  // Why the run has failed (ExitCode::kDiverged), once it has: its model is ruined or will be. Nothing is applied from
  // then on; the owner tells everybody and drops this container.
  const std::optional<std::string>& failure() const { return failure_; }
  // The pieces of the model that are here, in order of offset; none while there is no model.
  const std::vector<NamedRange>& pieces() const { return pieces_; }
  const Membership& members() const { return members_; }

 private:
  // A worker's history in the model, over all its processes.
  struct History {
    PushCollector collector;
    PushMark mark;  // of the last push that is applied, or staged where ps 0 decides
    std::int64_t consumed_samples = 0;
    std::int64_t pending_samples = 0;  // of pushes that are accepted and not yet applied
    int skipped_in_a_row = 0;          // on ps 0: pushes that were dropped because they are not finite
  };
  // A model being loaded by the chief.
  struct Creation {
    std::uint64_t run = 0;
    std::uint64_t incarnation = 0;
    std::vector<bool> loaded;  // by slot * chunks + chunk
    ConsumedSamples consumed_samples;
    Strategy strategy;
    std::vector<NamedRange> pieces;
    VariableStore store;
  };
  void on_hello(const Route& route, const Message& message, TimeMs now);
  void welcome(std::uint32_t worker);
  void welcome_everyone();
  bool fits_job(const Greeting& greeting);
  void on_create(const Route& route, const Message& message);
  void on_load(const Route& route, const Message& message);
  void on_create_end(const Route& route, const Message& message, TimeMs now);
  void on_pull(const Route& route, const Header& header);
  void on_push(const Route& route, Message&& message, TimeMs now);
  std::string describe(const WholePush& push) const;
  void apply(WholePush&& push);
  void stage(WholePush&& push);
  void on_join(const Route& route, const Header& header, TimeMs now);
  void on_commit(const Route& route, const Header& header, TimeMs now);
  void decide(const Route& route, Header commit, TimeMs now);
  void count_skipped(const Header& commit, const WholePush& push);
  void on_advance(const Route& route, const Message& message);
  bool make_updates(const Route& route, const Header& request, const std::vector<Update>& updates);
  void make(const Update& update);
  void go_on(TimeMs now);
  void tick_turns(TimeMs now);
  void depart(std::uint32_t worker, TimeMs now);
  void on_leave(const Message& message, TimeMs now);
  void fail_run(const std::string& reason);
  void on_snapshot_begin(const Route& route, const Header& header, TimeMs now);
  void on_snapshot_take(const Route& route, const Message& message, TimeMs now);
  void try_take(bool whole_steps_only, TimeMs now);
  void send_snapshot(const Route& route, const Header& request);
  void release_hold(TimeMs now);
  void on_await_others(const Route& route, const Header& header);
  void on_done(const Route& route, const Header& header);
  void tell_awaiting();

  SnapshotRecord progress() const;
  Header reply_header(const Header& request, MessageType type) const;
  Header values_header(const Header& request, MessageType type, std::size_t chunk, WireDtype dtype) const;
  void reply(const Route& route, const Header& request, MessageType type, Frame record = {});
  void send_parameters(const Route& route, const Header& request, WireDtype dtype);
  void send_slot(const Route& route, const Header& request, std::size_t slot);
  void refuse(const Route& route, const Header& request, ExitCode code, const std::string& reason);
  void log(LogLevel level, const std::string& line) { actions_.log(level, line); }

  bool ordered() const { return strategy_.ordered(); }

  PsIdentity ps_;
  PsLimits limits_;
  PsActions& actions_;
  ThreadPool* pool_;
  Membership members_;
  std::map<std::uint32_t, History> histories_;
  std::optional<Creation> creation_;
  std::optional<VariableStore> store_;
  std::vector<NamedRange> pieces_;
  std::uint64_t run_ = 0;
  Fingerprint fingerprint_;           // the chief's
  std::optional<SnapshotHold> hold_;  // while a snapshot is agreed on

  Strategy strategy_;
  std::optional<Turns> turns_;  // on ps 0
  StagedPushes staged_;
  std::vector<Update> updates_;                            // on ps 0: that another ps may not have made yet
  std::vector<std::pair<Route, Header>> commits_on_hold_;  // on ps 0, during a snapshot
  PublishedParameters published_;
  std::optional<std::pair<Route, Header>> awaiting_others_;
  std::optional<std::string> failure_;
};

}  // namespace distmnist
