// WorkerSession: the rules of a worker's conversation with all ps tasks of its job: one operation at a time, each made
// of requests to one ps, to the others or to all, in order. A pure state machine over an Exchange with each ps:
// operations, messages and the time go in, ExchangeActions come out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/base/parameter_sink.h"
#include "lib/base/unguessable.h"
#include "lib/cluster/cluster_spec.h"
#include "lib/cluster/placement.h"
#include "lib/ps/client/exchange.h"
#include "lib/ps/client/newest_marks.h"
#include "lib/ps/client/parameter_client.h"

namespace distmnist {

// How often a snapshot is tried before one is taken whose ps tasks are not at the same pushes.
inline constexpr int kSnapshotAttempts = 3;

struct WorkerSessionConfig {
  std::vector<HostPort> ps;
  PlacementPlan plan;  // plan[k]: what ps k holds
  std::int64_t num_parameters = 0;
  std::uint32_t worker = 0;
  std::uint32_t num_workers = 1;
  bool chief = false;
  std::uint64_t incarnation = 0;               // of no other process, and not to be guessed
  NumberSource draw_run = unguessable_number;  // what to call a model that this process creates; never 0
  std::string container;
  OptimizerSpec optimizer;                 // of the job
  Strategy strategy;                       // of the job
  WireDtype wire_dtype = WireDtype::kF32;  // of gradients and of the parameters of a turn
  Fingerprint fingerprint;
  TimeMs recovery_wait_ms = 120'000;
};

class WorkerSession {
 public:
  // actions[k]: what the exchange with ps k does, one for each of `ps`. They outlive the session.
  WorkerSession(WorkerSessionConfig config, const std::vector<ExchangeActions*>& actions);

  // ---- From the worker: each begins an operation, in place of one that is not finished ----
  // Greets all ps tasks; info() then.
  void open(TimeMs now);
  // `model` stays alive until it is finished, and so do the sinks below.
  void create(const StoredModel& model, TimeMs now);
  // All parameters as they are; step() then.
  void pull(ParameterSink& sink, TimeMs now);
  // Asks for a turn, and pulls; turn() then, for finish_push, too.
  void join(ParameterSink& sink, TimeMs now);
  // The gradients stay alive and unchanged until finish_push is finished. A range is sent as it is pushed.
  void begin_push(std::span<const float> gradients, std::int64_t step, std::int64_t samples, TimeMs now);
  void push(Range range);
  void drop_push() { drops_push_ = true; }
  void finish_push(ParameterSink& sink, TimeMs now);
  // A copy of the model; take_snapshot() then.
  void snapshot(TimeMs now);
  void await_others(TimeMs now);
  void done(TimeMs now);
  // Not answered, so finished at once.
  void leave();
  void fail_run(const std::string& why);

  // ---- From the shell ----
  std::size_t num_ps() const { return exchanges_.size(); }
  // For what happens to the connection.
  Exchange& exchange(std::size_t ps) { return exchanges_[ps]; }
  void on_message(std::size_t ps, Received&& received, TimeMs now);
  // To be called after what was said to an exchange, too.
  void on_tick(TimeMs now);
  // The header of what keeps this worker's lease at a ps, once it is open.
  Header heartbeat(std::size_t ps) const;
  // The operation is given up: nothing goes to its sinks any more.
  void give_up();

  // ---- What became of the operation ----
  bool finished() const { return phase_ == Phase::kIdle; }
  // Why a ps has refused, or was given up; null: none did.
  const Exchange::Failure* failure() const;
  // Why the session has to be opened again; empty: it goes on.
  const std::string& lost() const { return lost_; }
  // Whether it waits until other workers let this one go on.
  bool awaits_turn() const { return phase_ == Phase::kJoining || phase_ == Phase::kCommitting; }
  bool connecting() const;  // to at least one ps
  // How many requests have begun since the session was made: each is answered within the patience for one.
  std::int64_t requests() const { return requests_; }

  const SessionInfo& info() const { return info_; }
  const Turn& turn() const { return turn_; }
  // Of the last turn: what its wait was for other workers.
  TimeMs waited_ms() const { return exchanges_.front().token().waited_ms; }
  std::uint64_t run() const { return run_; }                       // of the model that is spoken of
  std::int64_t step() const { return exchanges_.front().step(); }  // as of the last answer
  StoredModel take_snapshot() { return std::move(model_); }
  // Whether all ps tasks were at the same pushes.
  bool snapshot_is_whole() const { return whole_; }

 private:
  enum class Phase {
    kIdle,
    kOpening,
    kCreating,
    kPulling,
    kJoining,     // asks ps 0 for a turn
    kPushing,     // where each ps applies a push by itself
    kStaging,     // until the push is whole at all others
    kCommitting,  // asks ps 0 what becomes of the push, and for a turn
    kAdvancing,   // tells the others what ps 0 has decided, and pulls
    kSnapshotVector,
    kSnapshotTake,
    kAwaitingOthers,
    kDone
  };
  struct Asked {  // ps tasks whose answers a phase waits for
    std::size_t first = 0, last = 0;
  };

  Exchange& lead() { return exchanges_.front(); }
  bool ordered() const { return config_.strategy.ordered(); }
  Asked lead_only() const { return {0, 1}; }
  Asked others() const { return {1, exchanges_.size()}; }
  Asked all() const { return {0, exchanges_.size()}; }
  void enter(Phase phase, Asked asked);
  // Enters a phase that asks these ps tasks `part`. Values of the answers go to `sinks`, by slot.
  void ask(Phase phase, Asked asked, MessageType answer, const RequestPart& part, TimeMs now,
           WireDtype wants = WireDtype::kF32, const std::vector<ParameterSink*>& sinks = {});
  std::span<const std::byte> kept(Frame record);
  std::span<const std::byte> on_the_wire(Range range);

  // Goes on where the phase has its answers.
  void advance(TimeMs now);
  bool has_answers() const;
  void next_phase(TimeMs now);
  void on_opened();
  void on_pushed();
  void commit(TimeMs now);
  void pull_from_others(TimeMs now);
  void on_turn();
  void ask_for_vectors(TimeMs now);
  void take_slots(TimeMs now);
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
  std::vector<Frame> records_;  // of the requests under way
  ParameterSink* sink_ = nullptr;

  std::span<const float> gradients_;
  std::vector<std::byte> wire_gradients_;  // the same as numbers of wire_dtype, where they are not float32
  std::int64_t pushed_step_ = 0;
  std::uint64_t pushed_sequence_ = 0;  // of the last push
  bool drops_push_ = false;            // this worker does not want it to count

  int snapshot_attempts_ = 0;
  SnapshotRecord target_;  // what each ps is to be at
  bool certain_ = false;   // that it is the newest
  bool whole_ = false;
  std::deque<BlockSink> slot_sinks_;

  SessionInfo info_;
  Turn turn_;
  StoredModel model_;
};

}  // namespace distmnist
