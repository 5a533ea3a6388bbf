// Container: the rules of one run on one ps: who takes part, when the model is ready, which pushes are applied, when a
// snapshot is whole, when the run is over. A pure state machine: a message or the time goes in, PsActions come out.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/unguessable.h"
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
// The largest model, over all ps tasks: ranges of it never overflow.
inline constexpr std::int64_t kMaxParameters = std::int64_t{1} << 40;
inline constexpr std::uint32_t kMaxWorkers = kMaxReplicas;  // of a container of a ps with --ps_stay
// Bytes of names and values in what a worker says of its job; a ps keeps them for each of its workers.
inline constexpr std::size_t kMaxFingerprintBytes = 16 * 1024;
// Updates that ps 0 tells the others of, and pushes in them: so many fit a message.
inline constexpr std::size_t kMaxUpdatesToTell = 4096, kMaxPushesToTell = 32 * 1024;
// Updates that another ps remembers to have made, so that it notices when it is told of different ones.
inline constexpr std::size_t kMaxMadeUpdates = 1024;
// Between two snapshots that need no hold.
inline constexpr TimeMs kSnapshotRestMs = 100;

struct PsIdentity {
  std::uint32_t index = 0;
  std::uint32_t num_ps = 1;
  std::uint32_t num_workers = 1;
  std::uint64_t epoch = 0;  // drawn when the process starts
  // --ps_stay: serves any number of containers until a signal comes; each has the number of workers its first hello
  // says.
  bool stay = false;
  NumberSource draw_lease = unguessable_number;
};

struct PsLimits {
  TimeMs recovery_wait_ms = 120'000;  // how long a run goes on without any live worker, and a worker waits for others
};

class Container {
 public:
  // `pool`: threads that share the work of an update; null: only the caller's. It outlives the container.
  Container(const PsIdentity& identity, const PsLimits& limits, PsActions& actions, ThreadPool* pool = nullptr)
      : ps_(identity),
        limits_(limits),
        actions_(actions),
        pool_(pool),
        members_(identity.num_workers, identity.draw_lease) {}

  // A message whose header has been checked and that is meant for this container.
  void on_message(const Sender& from, Message&& message, TimeMs now);
  void on_tick(TimeMs now);
  // Asks every process that takes part whether it is alive; any message of it is an answer.
  void probe_everyone();
  // The process of this message takes part no more: what it said could not be dealt with.
  void end_session(const Header& header, TimeMs now);
  // Ends the connections of all who take part or want to; what was sent to them still goes out.
  void hang_up();

  bool has_model() const { return store_.has_value(); }
  bool ended() const { return store_.has_value() && members_.all_done(); }
  // Why the run has failed (ExitCode::kDiverged), once it has: its model is ruined or will be. Nothing is applied from
  // then on; the owner tells everybody and drops this container.
  const std::optional<std::string>& failure() const { return failure_; }
  // The pieces of the model that are here, in order of offset; none while there is no model.
  const std::vector<NamedRange>& pieces() const { return pieces_; }
  const Membership& members() const { return members_; }

 private:
  // What a process has been told by a token: of the updates up to this commit. The question is the last one answered,
  // and the commit that of its first answer, which is the one that the process may have gone on with.
  struct Told {
    std::uint64_t incarnation = 0;
    std::uint64_t question = 0;  // its sequence
    std::int64_t commit = 0;
  };
  // A worker's history in the model, over all its processes.
  struct History {
    PushCollector collector;
    PushMark mark;  // of the last push that is applied, or staged where ps 0 decides
    std::int64_t consumed_samples = 0;
    std::int64_t pending_samples = 0;  // of pushes that are accepted and not yet applied
    int skipped_in_a_row = 0;          // on ps 0: pushes that were dropped because they are not finite
    Told told;
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
  void handle(const Sender& from, Message&& message, TimeMs now);
  // Ends connections that nobody has need of.
  void cut_orphans();
  void on_hello(const Sender& from, const Message& message, TimeMs now);
  void probe(std::uint32_t worker);
  void welcome(std::uint32_t worker);
  void welcome_everyone();
  bool fits_job(const Greeting& greeting);
  std::string misfit(const HelloRecord& hello) const;
  void on_create(const Sender& from, const Message& message);
  std::optional<std::string> fault_of_creation(const CreateRecord& record, const Header& header);
  void on_load(const Sender& from, const Message& message);
  void on_create_end(const Message& message, TimeMs now);
  void on_pull(const Route& route, const Header& header);
  void on_push(const Route& route, Message&& message, TimeMs now);
  std::string describe(const WholePush& push) const;
  void apply(WholePush&& push);
  void stage(WholePush&& push);
  void on_join(const Route& route, const Header& header, TimeMs now);
  void on_commit(const Sender& from, const Header& header, TimeMs now);
  std::string fault_of_commit(const Header& header) const;
  bool has_room_for_update() const;
  void note_told(const Header& question);
  void decide(const Route& route, Header commit, TimeMs now);
  void count_skipped(const Header& commit, const WholePush& push);
  void on_advance(const Sender& from, const Message& message);
  bool make_updates(const Sender& from, const Header& request, const std::vector<Update>& updates);
  bool contradicts(const Update& update) const;
  void make(const Update& update);
  void remember_made(const Update& update);
  // An update must not be left half made: where this throws, the run fails.
  template <class Action>
  void all_or_nothing(const Action& make_update) {
    try {
      make_update();
    } catch (const std::exception& error) {
      fail_run(std::string("an update could not be finished: ") + error.what() + "; go on from the newest checkpoint");
    }
  }
  void go_on(TimeMs now);
  void tick_turns(TimeMs now);
  void depart(std::uint32_t worker, TimeMs now);
  void on_leave(const Message& message, TimeMs now);
  void fail_run(const std::string& reason);
  void on_snapshot(const Sender& from, Message&& message, TimeMs now);
  void on_snapshot_begin(const Route& route, const Header& header, TimeMs now);
  void on_snapshot_take(const Sender& from, const Message& message, TimeMs now);
  void tick_snapshot(TimeMs now);
  bool lacks(std::uint32_t worker, const PushMark& mark);
  bool has_left(std::uint32_t worker, const PushMark& mark) const;
  void give_up_push(std::uint32_t worker, const PushMark& mark);
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
  void refuse(const Sender& to, const Header& request, ExitCode code, const std::string& reason);
  // Something that no worker of ours says: its connection ends.
  void cut_off(const Sender& from, const Header& header, const std::string& what);
  enum class Event { kComes, kBack, kLost, kTakenOver, kLeaves, kDone };
  void log_event(Event event, std::uint32_t worker, const std::string& what);

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
  Fingerprint fingerprint_;                            // the chief's
  std::int64_t num_parameters_ = 0;                    // of the whole model, as the chief says
  std::optional<SnapshotHold> hold_;                   // while a snapshot is agreed on
  TimeMs rest_until_ms_ = 0;                           // until then no push is held again
  std::optional<std::pair<Sender, Message>> put_off_;  // the chief's question about a snapshot, until then

  Strategy strategy_;
  std::optional<Turns> turns_;  // on ps 0
  StagedPushes staged_;
  std::vector<Update> updates_;                             // on ps 0: that another ps may not have made yet
  std::deque<Update> made_;                                 // on other ps tasks: the last ones
  std::vector<std::pair<Sender, Header>> commits_on_hold_;  // on ps 0, during a snapshot; of each worker at most one
  PublishedParameters published_;
  std::optional<std::pair<Route, Header>> awaiting_others_;  // the chief's question
  std::optional<std::string> failure_;
};

}  // namespace distmnist
