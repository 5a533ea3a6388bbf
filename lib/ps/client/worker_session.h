// WorkerSession: the rules of a worker's conversation with all ps tasks of its job. It runs one operation at a time. An
// operation is a sequence of requests to one ps, to the others or to all. A pure state machine over an Exchange with
// each ps: operations, messages and the time go in, ExchangeActions come out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/parameter_sink.h"
#include "lib/base/unguessable.h"
#include "lib/cluster/cluster_spec.h"
#include "lib/cluster/placement.h"
#include "lib/ps/client/exchange.h"
#include "lib/ps/client/parameter_client.h"

namespace distmnist {

// How often a snapshot is tried whose ps tasks turn out to be at different updates.
inline constexpr int kSnapshotAttempts = 3;

struct WorkerSessionConfig {
  std::vector<HostPort> ps;
  PlacementPlan plan;  // plan[k]: what ps k holds
  std::int64_t num_parameters = 0;
  std::uint32_t worker = 0;
  std::uint32_t num_workers = 1;
  std::uint64_t incarnation = 0;               // unique to this process, and unguessable
  NumberSource draw_run = unguessable_number;  // draws the run of a model that this process creates; never 0
  std::string container;
  OptimizerSpec optimizer;                 // of the job
  Strategy strategy;                       // of the job
  WireDtype wire_dtype = WireDtype::kF32;  // of gradients and of the parameters of a turn
  Fingerprint fingerprint;
  WaitLimits limits = {};
};

class WorkerSession {
 public:
  // actions[k]: the actions of the exchange with ps k, one for each of `ps`. They must outlive the session.
  WorkerSession(WorkerSessionConfig config, const std::vector<ExchangeActions*>& actions);

  // ---- From the worker: each call begins an operation and replaces an unfinished one ----
  // Shakes hands with all ps tasks. The result is in info(). offer_to_lead: whether this worker can be the chief; it
  // is, if all ps tasks agree.
  void open(bool offer_to_lead, TimeMs now);
  // `model` must stay alive until the operation has finished. The same holds for the sinks below.
  void create(const StoredModel& model, TimeMs now);
  // Pulls all parameters of one update, in float32. Their step is in step(). To be called when no worker waits for a
  // turn any more, at the end of the run, or with one ps.
  void pull(ParameterSink& sink, TimeMs now);
  // Asks for a turn, and pulls. The result is in turn(), as for finish_push.
  void join(ParameterSink& sink, TimeMs now);
  // The gradients, of float32 or the wire's numbers, must stay alive and unchanged until finish_push has finished. A
  // range is sent as it is pushed.
  void begin_push(const Numbers& gradients, std::int64_t step, std::int64_t samples, TimeMs now);
  void push(Range range);
  void drop_push() { drops_push_ = true; }
  void finish_push(ParameterSink& sink, TimeMs now);
  // Copies the model at one update. The result is in take_snapshot().
  void snapshot(TimeMs now);
  void await_others(TimeMs now);
  void done(TimeMs now);
  // Not answered, so it finishes at once.
  void leave();
  void fail_run(const std::string& why);

  // ---- From the shell ----
  std::size_t num_ps() const { return exchanges_.size(); }
  // To report events of the connection.
  Exchange& exchange(std::size_t ps) { return exchanges_[ps]; }
  void on_message(std::size_t ps, Received&& received, TimeMs now);
  // Also to be called after each call on an exchange.
  void on_tick(TimeMs now);
  // The header of the pings that keep this worker's lease at a ps, once the session is open.
  Header heartbeat(std::size_t ps) const;
  // Abandons the operation: nothing is written to its sinks any more.
  void give_up();

  // ---- Result of the operation ----
  bool finished() const { return phase_ == Phase::kIdle; }
  // Why a ps has refused or was given up; null if none has.
  const Exchange::Failure* failure() const;
  // Why the session must be opened again; empty if it goes on.
  const std::string& lost() const { return lost_; }
  // Whether it waits for other workers before this one may go on.
  bool awaits_turn() const { return phase_ == Phase::kJoining || phase_ == Phase::kCommitting; }
  bool connecting() const;  // to at least one ps
  // Whether it waits for others longer than for an answer: for the model, its turn or the end of the run.
  bool waits_for_others() const { return awaits_turn() || phase_ == Phase::kOpening || ends(); }
  bool ends() const { return phase_ == Phase::kDone || phase_ == Phase::kDoneAtOthers; }
  // Whether the run has had no chief for a while, according to ps 0.
  bool lacks_chief() const { return exchanges_.front().lacks_chief(); }
  // Whether ps 0 has answered a hello and knows of no chief.
  bool knows_no_chief() const { return exchanges_.front().ps_epoch() != 0 && exchanges_.front().chief() == kNoWorker; }
  // Requests begun since the session was made. Each has the full time limit of one request.
  std::int64_t requests() const { return requests_; }

  const SessionInfo& info() const { return info_; }
  const Turn& turn() const { return turn_; }
  // How long the last turn was delayed by other workers.
  TimeMs waited_ms() const { return exchanges_.front().token().waited_ms; }
  std::uint64_t run() const { return run_; }                       // of the current model
  std::int64_t step() const { return exchanges_.front().step(); }  // in the last answer
  // Nothing if the ps tasks were at different updates in each of kSnapshotAttempts.
  std::optional<StoredModel> take_snapshot() { return std::exchange(model_, std::nullopt); }

 private:
  enum class Phase {
    kIdle,
    kOpening,
    kCreating,
    kPulling,
    kPullingFromLead,  // asks ps 0, before it brings the others to the same update
    kJoining,          // asks ps 0 for a turn
    kPushing,          // if each ps applies a push by itself
    kStaging,          // until the push is complete on all other ps tasks
    kCommitting,       // asks ps 0 for the decision on the push, and for a turn
    kAdvancing,        // tells the others what ps 0 has decided, and pulls
    kSnapshotPoint,    // asks ps 0 to make no update for now, and which updates the others need
    kSnapshotOthers,   // until the other ps tasks have copied their parts
    kSnapshotTake,
    kAwaitingOthers,
    kDoneAtOthers,  // the chief reports to ps 0 last, so that this is there as long as any other ps is
    kDone
  };
  struct Asked {  // the ps tasks that must answer in a phase
    std::size_t first = 0, last = 0;
  };
  struct Question {  // a phase that sends `part` to these ps tasks
    Phase phase;
    Asked asked;
    MessageType answer;
    RequestPart part;
    WireDtype wants = WireDtype::kF32;
    std::vector<ParameterSink*> sinks = {};  // where the values of the answers go, by slot
  };

  Exchange& lead() { return exchanges_.front(); }
  bool ordered() const { return config_.strategy.ordered(config_.ps.size()); }
  Asked lead_only() const { return {0, 1}; }
  Asked others() const { return {1, exchanges_.size()}; }
  Asked all() const { return {0, exchanges_.size()}; }
  void join(ParameterSink& sink, Phase phase, WireDtype wants, TimeMs now);
  void enter(Phase phase, Asked asked);
  void ask(const Question& question, TimeMs now);
  std::span<const std::byte> kept(Frame record);
  std::span<const std::byte> on_the_wire(Range range);

  // Goes on to the next phase once this one has its answers.
  void advance(TimeMs now);
  bool has_answers() const;
  void next_phase(TimeMs now);
  void on_opened(TimeMs now);
  void done_at(Asked asked, Phase phase, TimeMs now);
  void on_pushed();
  void commit(TimeMs now);
  void pull_from_others(TimeMs now);
  void on_turn();
  void ask_for_point(TimeMs now);
  void take_slots(TimeMs now);
  void take_from(Asked asked, Phase phase, TimeMs now);
  void take_from_lead(TimeMs now);
  void compare_shards(TimeMs now);

  WorkerSessionConfig config_;
  ExchangeActions* report_to_;
  std::deque<Exchange> exchanges_;
  Phase phase_ = Phase::kIdle;
  Asked asked_;
  std::int64_t requests_ = 0;
  std::uint64_t sequence_ = 0;
  std::uint64_t run_ = 0;
  std::string lost_;
  std::vector<Frame> records_;  // of the pending requests
  ParameterSink* sink_ = nullptr;
  WireDtype wants_ = WireDtype::kF32;  // the number type for sink_

  Numbers gradients_;
  std::vector<std::byte> wire_gradients_;  // gradients_ in wire_dtype, if they are not
  std::int64_t pushed_step_ = 0;
  std::uint64_t pushed_sequence_ = 0;  // of the last push
  bool drops_push_ = false;            // this worker does not want the push to count

  int snapshot_attempts_ = 0;
  StoredModel copy_;  // while it arrives
  std::deque<BlockSink> slot_sinks_;

  SessionInfo info_;
  Turn turn_;
  std::optional<StoredModel> model_;
  std::set<std::uint32_t> done_;  // workers that are known to be done in this run
};

}  // namespace distmnist
