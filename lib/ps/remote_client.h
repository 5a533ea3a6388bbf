// RemoteClient: the parameters are on ps tasks. What a worker asks of all ps tasks together, over one
// PsLink each.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/unguessable.h"
#include "lib/cluster/cluster_spec.h"
#include "lib/cluster/placement.h"
#include "lib/ps/heartbeat.h"
#include "lib/ps/parameter_client.h"
#include "lib/ps/ps_link.h"

namespace distmnist {

// After a stop is asked for, a request under way may still take this long; a wait for the turn, which other workers may
// have left, this long.
inline constexpr TimeMs kStopGraceMs = 5'000;
inline constexpr TimeMs kTurnStopMs = 500;

// How often a snapshot is tried before one is taken whose ps tasks are not at the same pushes.
inline constexpr int kSnapshotAttempts = 3;

struct RemoteClientConfig {
  std::vector<HostPort> ps;
  // Where ps tasks of this process listen ("inproc://..."), one for each of `ps`, with the context they share; else
  // empty and null.
  std::vector<std::string> endpoints;
  WireContext* context = nullptr;
  std::vector<ClientKeys> keys;  // for each of `ps`, where the cluster has keys
  PlacementPlan plan;            // plan[k]: what ps k holds
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
  std::function<bool()>
      stop_requested;  // asked while waiting; a wait that would go on then throws Error (kInterrupted)
};

class RemoteClient : public ParameterClient {
 public:
  explicit RemoteClient(RemoteClientConfig config);
  ~RemoteClient() override;

  SessionInfo open() override;
  void create(const StoredModel& model) override;
  std::int64_t pull(const ParameterSink& sink) override;
  Turn join(const ParameterSink& sink) override;
  void begin_push(std::span<const float> gradients, std::int64_t step, std::int64_t samples) override;
  void push(Range range) override;
  void drop_push() override { drops_push_ = true; }
  Turn finish_push(const ParameterSink& sink) override;
  ExchangeCosts costs() const override;
  StoredModel snapshot() override;
  bool await_others(TimeMs limit_ms) override;
  void done() override;
  void leave() override;
  void fail_run(const std::string& why) override;

 private:
  // Begins a request at the ps tasks from `first` on and sends `part` there.
  void ask(MessageType answer, const RequestPart& part, std::size_t first = 0, WireDtype wants = WireDtype::kF32);
  // Runs sockets and clocks until `finished` holds.
  enum class Wait { kAnswer, kTurn, kWish };
  // kAnswer: something the ps tasks give at once. kTurn: throws StopRequested soon after a stop is asked for. kWish:
  // gives up after limit_ms or when a stop is asked for; false then.
  bool drive(const std::function<bool()>& finished, const ValuesSink& sink, Wait wait = Wait::kAnswer,
             TimeMs limit_ms = 0);
  bool answered(std::size_t first = 0) const;  // by the ps tasks from `first` on
  Turn take_turn(const ParameterSink& sink);
  void await_staging();
  void pull_from_others(const ParameterSink& sink);
  // What each ps has said of itself in answer to the last snapshot question.
  std::vector<SnapshotRecord> vectors() const;
  bool try_snapshot(StoredModel& model);
  bool try_ordered_snapshot(StoredModel& model);
  StoredModel take_snapshot(const SnapshotRecord& target);
  // The gradients of a range as the wire has them; good until the push is answered.
  std::span<const std::byte> on_the_wire(Range range);
  void check_outcomes();
  void start_heartbeat();
  std::int64_t step() const;

  RemoteClientConfig config_;
  std::optional<WireContext> own_context_;
  WireContext& context_;
  ValuesSink sink_;
  std::vector<std::unique_ptr<PsLink>> links_;
  Heartbeat heartbeat_;
  std::uint64_t sequence_ = 0;
  std::uint64_t run_ = 0;
  std::span<const float> gradients_;
  std::vector<std::byte> wire_gradients_;  // the same as numbers of wire_dtype, where they are not float32
  std::int64_t pushed_step_ = 0;
  bool drops_push_ = false;            // this worker does not want it to count
  std::uint64_t pushed_sequence_ = 0;  // of the last push
  double first_values_s_ = 0;          // when the first parameters of the turn came
  ExchangeCosts costs_;                // without the bytes, which the links count
  bool opened_once_ = false;
};

}  // namespace distmnist
