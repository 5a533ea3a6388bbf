// ParameterSession and ParameterClient: how a worker reaches the parameters.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "lib/base/parameter_sink.h"
#include "lib/base/range.h"
#include "lib/base/time_ms.h"
#include "lib/optim/stored_model.h"
#include "lib/ps/records/control.h"
#include "lib/wire/numbers.h"

namespace distmnist {

struct SessionInfo {
  bool chief = true;       // this worker is the chief
  bool has_model = false;  // false only for the chief, which then creates it
  bool ended = false;      // the run is over
  std::int64_t global_step = 0;
};

// A worker's turn to compute a batch, and the result of its previous push.
struct Turn {
  std::int64_t global_step = 0;       // of the parameters that were delivered
  std::int64_t consumed_samples = 0;  // by this worker: where its data continues
  bool accepted = true;               // the push, if there was one
  std::int64_t staleness = 0;         // updates between its parameters and the decision on it
  bool finite = true;                 // false: not accepted, because one of its numbers or its loss is not finite
};

// What the exchange with the ps tasks has cost this worker so far, in seconds and bytes.
struct ExchangeCosts {
  double push_s = 0;    // handing gradients to the sockets
  double wait_s = 0;    // until the first parameters arrived: transport, the ps, other workers
  double others_s = 0;  // the part of wait_s spent on other workers
  double pull_s = 0;    // until all of them had arrived
  std::int64_t sent_bytes = 0;
  std::int64_t received_bytes = 0;
};

// The model of the session is gone (a ps was restarted, or the chief made a new model): call open() again.
class SessionLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A stop was requested while this worker waited for its turn. Its push may still count.
class StopRequested : public std::runtime_error {
 public:
  StopRequested() : std::runtime_error("a stop was requested while waiting for this worker's turn") {}
};

// How a worker uses the parameters, wherever they are: in this process, on its device, or on parameter servers. Not
// thread-safe. Every call may throw Error (kLostPeer after the deadline, or the code of a ps's refusal) or SessionLost.
class ParameterSession {
 public:
  virtual ~ParameterSession() = default;

  // Shakes hands. Returns when the model is ready; for the chief, when every ps has answered. Call again after
  // SessionLost.
  virtual SessionInfo open() = 0;
  // Sets the chief's model, which replaces the previous one. The session knows its optimizer and its strategy.
  virtual void create(const StoredModel& model) = 0;

  // All parameters, of one update. Returns their global_step. To be called at the end of the run, when no worker waits
  // for a turn.
  virtual std::int64_t pull(ParameterSink& sink) = 0;
  // A copy of the whole model at one moment: each push is in it on all ps tasks or on none. Nothing if the ps tasks
  // answer too slowly for that: try again later.
  virtual std::optional<StoredModel> snapshot() = 0;

  // Waits until all other workers are done. Returns false after limit_ms, or when a stop is requested.
  virtual bool await_others(TimeMs limit_ms) = 0;
  // done(): this task is done. leave(): this process leaves, but its task is not done.
  virtual void done() = 0;
  virtual void leave() = 0;
  // This process leaves because the model is ruined (kDiverged), for the reason `why`. The run ends for all workers.
  virtual void fail_run(const std::string& why) = 0;
};

// A session that also sends gradients to the parameters. join and finish_push may also throw StopRequested.
class ParameterClient : public ParameterSession {
 public:
  // Called before the first batch of a session. Waits until the strategy lets this worker compute, and pulls.
  virtual Turn join(ParameterSink& sink) = 0;

  // Push, wait for the next turn, and pull, as one exchange. begin_push names the gradient block (of float32 or of
  // gradient_dtype(); alive and unchanged until finish_push returns), the global_step of this worker's turn (not a
  // later one from a snapshot) and the samples in the batch. push hands over a range as soon as its gradient is final.
  // finish_push returns when this worker may compute the next batch.
  virtual void begin_push(const Numbers& gradients, std::int64_t step, std::int64_t samples) = 0;
  virtual void push(Range range) = 0;
  // Called between begin_push and finish_push if bad gradients are skipped: this push must not count because its loss
  // is not finite.
  virtual void drop_push() = 0;
  virtual Turn finish_push(ParameterSink& sink) = 0;

  // In which gradients are sent.
  virtual WireDtype gradient_dtype() const { return WireDtype::kF32; }
  virtual ExchangeCosts costs() const { return {}; }
};

}  // namespace distmnist
