// ParameterSession and ParameterClient: how a worker reaches the parameters.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "lib/base/parameter_sink.h"
#include "lib/base/range.h"
#include "lib/base/time_ms.h"
#include "lib/optim/optimizer.h"
#include "lib/ps/records/control.h"

namespace distmnist {

// A whole model as it is stored: the parameter block, the optimizer's slots in the same layout, and how far it is.
struct StoredModel {
  std::int64_t global_step = 0;
  OptimizerSpec optimizer;
  Strategy strategy;
  std::vector<float> parameters;          // [num_parameters]
  std::vector<std::vector<float>> slots;  // [slot][num_parameters], in the order of slot_names
  ConsumedSamples consumed_samples;       // by worker: its position in its data
};

struct SessionInfo {
  bool has_model = false;  // false only for the chief, who then creates it
  bool ended = false;      // the run is over
  std::int64_t global_step = 0;
};

// A worker's turn to compute a batch, and what became of its push before.
struct Turn {
  std::int64_t global_step = 0;       // of the parameters that were handed over
  std::int64_t consumed_samples = 0;  // of this worker: where its data goes on
  bool accepted = true;               // the push, if there was one
  std::int64_t staleness = 0;         // updates between its parameters and its verdict
  bool finite = true;                 // false: not accepted, because a number of it or its loss is not finite
};

// What the exchange with the ps tasks has cost this worker so far.
struct ExchangeCosts {
  double push_s = 0;    // handing gradients to the sockets
  double wait_s = 0;    // until the first parameters came: transport, the ps, other workers
  double others_s = 0;  // the part of it that was for other workers
  double pull_s = 0;    // until all of them were there
  std::int64_t sent_bytes = 0;
  std::int64_t received_bytes = 0;
};

// The model of the session is gone (a ps was started anew, or the chief made another model): open() again.
class SessionLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A stop was asked for while this worker waited for its turn. Its push may still count.
class StopRequested : public std::runtime_error {
 public:
  StopRequested() : std::runtime_error("a stop was requested while waiting for this worker's turn") {}
};

// What a worker asks of the parameters wherever they are: in this process, on its device, or on parameter servers. One
// thread calls it. Every call may throw Error (kLostPeer after the deadline, or what a ps refused with) or SessionLost.
class ParameterSession {
 public:
  virtual ~ParameterSession() = default;

  // Greets; returns when the model is ready, for the chief when every ps has answered. Call again after SessionLost.
  virtual SessionInfo open() = 0;
  // The chief's model; whatever was held before is replaced.
  virtual void create(const StoredModel& model) = 0;

  // All parameters, whoever's turn it is; returns their global_step.
  virtual std::int64_t pull(ParameterSink& sink) = 0;
  // A copy of the whole model at one moment: every push is in it everywhere or nowhere.
  virtual StoredModel snapshot() = 0;

  // Waits until all other workers are done; false after limit_ms, or when a stop is asked for.
  virtual bool await_others(TimeMs limit_ms) = 0;
  // This task is done. Or: this process leaves, its task is not done.
  virtual void done() = 0;
  virtual void leave() = 0;
  // This process leaves because the model is ruined (kDiverged), for the reason `why`: the run ends for everybody.
  virtual void fail_run(const std::string& why) = 0;
};

// A session in which gradients go to the parameters. join and finish_push may also throw StopRequested.
class ParameterClient : public ParameterSession {
 public:
  // Before the first batch of a session: waits until the strategy lets this worker compute, and pulls.
  virtual Turn join(ParameterSink& sink) = 0;

  // Push, wait for the next turn, and pull, as one exchange. begin_push names the gradient block (alive and unchanged
  // until finish_push returns), the global_step of this worker's turn (not a later one that a snapshot has shown) and
  // the samples of the batch; push hands over a range, as soon as its gradient is final; finish_push returns when this
  // worker may compute the next batch.
  virtual void begin_push(std::span<const float> gradients, std::int64_t step, std::int64_t samples) = 0;
  virtual void push(Range range) = 0;
  // Between begin_push and finish_push, where bad gradients are skipped: this one is not to count, for its loss is not
  // finite.
  virtual void drop_push() = 0;
  virtual Turn finish_push(ParameterSink& sink) = 0;

  virtual ExchangeCosts costs() const { return {}; }
};

}  // namespace distmnist
