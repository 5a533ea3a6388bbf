// RemoteClient: a client whose parameters are on ps tasks. It adds what WorkerSession does not deal with: sockets,
// clocks, stop signals and cost measurements.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/ps/client/heartbeat.h"
#include "lib/ps/client/parameter_client.h"
#include "lib/ps/client/ps_link.h"
#include "lib/ps/client/worker_session.h"

namespace distmnist {

// How long a pending request may still take after a stop is requested, and how long a wait for the turn may: the other
// workers may have left by then.
inline constexpr TimeMs kStopGraceMs = 5'000;
inline constexpr TimeMs kTurnStopMs = 500;
// How often a worker looks whether it can be the chief, while the run lacks one. Worker i begins i times kOfferLaterMs
// later, so that two do not offer at the same time.
inline constexpr TimeMs kOfferEveryMs = 2'000, kOfferLaterMs = 300;

struct RemoteClientConfig : WorkerSessionConfig {
  // Where ps tasks of this process listen ("inproc://..."), one for each of `ps`, and the context they share; otherwise
  // empty and null.
  std::vector<std::string> endpoints;
  WireContext* context = nullptr;
  std::vector<ClientKeys> keys;  // for each of `ps`, if the cluster has keys
  // Polled while waiting. Once it is true, a call that would keep waiting throws Error (kInterrupted).
  std::function<bool()> stop_requested;
  bool chief = false;  // whether this process offers to be the chief when it starts
  // If not empty: why this process, whose task usually leads, cannot. It ends with this error (kConflict) unless the
  // run has a chief.
  std::string conflict;
  // Asked while the run lacks a chief: whether this process can be the chief. was_there: it has had a session with a
  // model. Empty: it cannot.
  std::function<bool(bool was_there)> can_lead;
  // As in Heartbeat::Config.
  std::function<std::optional<Stuck>()> stuck;
  std::function<void()> beat;  // called while waiting, at least every 100 ms; may be empty
};

class RemoteClient : public ParameterClient {
 public:
  explicit RemoteClient(RemoteClientConfig config);
  // The sockets end first: they may still read memory of the session's.
  ~RemoteClient() override {
    heartbeat_.stop();
    links_.clear();
    own_context_.reset();
  }

  SessionInfo open() override;
  void create(const StoredModel& model) override;
  std::int64_t pull(ParameterSink& sink) override;
  Turn join(ParameterSink& sink) override;
  void begin_push(const Numbers& gradients, std::int64_t step, std::int64_t samples) override;
  void push(Range range) override;
  void drop_push() override { session_.drop_push(); }
  Turn finish_push(ParameterSink& sink) override;
  WireDtype gradient_dtype() const override { return config_.wire_dtype; }
  ExchangeCosts costs() const override;
  std::optional<StoredModel> snapshot() override;
  bool await_others(TimeMs limit_ms) override;
  void done() override;
  void leave() override;
  void fail_run(const std::string& why) override;

 private:
  // Runs sockets and clocks until the session has finished its operation. With a limit, returns false if the limit
  // passes or a stop is requested first.
  bool drive(std::optional<TimeMs> limit_ms = std::nullopt);
  void require_patience(TimeMs now);
  // Ends the session if the run lacks a chief and this worker can be the chief. The next one offers that.
  void offer_to_lead(TimeMs now);

  RemoteClientConfig config_;
  std::optional<WireContext> own_context_;
  WireContext& context_;
  std::vector<std::unique_ptr<PsLink>> links_;
  StoredModel created_;  // while it is being sent; kept after a failure, because sockets may still read it
  WorkerSession session_;
  Heartbeat heartbeat_;  // Destroyed before the session that it pings for.
  PatientClock clock_;
  bool opened_once_ = false;
  bool was_there_ = false;  // it has had a session with a model
  bool offers_to_lead_;
  TimeMs next_offer_ms_ = 0;
  TimeMs stop_since_ = 0;  // when a stop was first seen during stopped_request_
  std::int64_t stopped_request_ = -1;
  ExchangeCosts costs_;  // without the bytes, which the links count
};

}  // namespace distmnist
