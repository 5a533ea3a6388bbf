#include "lib/ps/client/remote_client.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"

namespace distmnist {
namespace {

constexpr int kPollMs = 100;        // how often clocks are checked while waiting
constexpr int kConnectPollMs = 20;  // and while connecting

std::vector<std::unique_ptr<PsLink>> make_links(WireContext& context, const RemoteClientConfig& config) {
  std::vector<std::unique_ptr<PsLink>> links;
  for (std::size_t k = 0; k < config.ps.size(); ++k) {
    PsAddress address{config.ps[k], {}, {}};
    if (!config.endpoints.empty()) address.fixed_endpoint = config.endpoints[k];
    if (!config.keys.empty()) address.keys = config.keys[k];
    links.push_back(std::make_unique<PsLink>(context, k, std::move(address)));
  }
  return links;
}

std::vector<ExchangeActions*> actions_of(const std::vector<std::unique_ptr<PsLink>>& links) {
  std::vector<ExchangeActions*> actions;
  for (const auto& link : links) actions.push_back(link.get());
  return actions;
}

}  // namespace

RemoteClient::RemoteClient(RemoteClientConfig config)
    : config_(std::move(config)),
      context_(config_.context != nullptr ? *config_.context : own_context_.emplace()),
      links_(make_links(context_, config_)),
      session_(config_, actions_of(links_)),
      heartbeat_(context_, {config_.limits.silence_ms / 5, config_.stuck}),
      offers_to_lead_(config_.chief) {}

// ---- The session ----

SessionInfo RemoteClient::open() {
  session_.open(offers_to_lead_, clock_.now());
  drive();
  offers_to_lead_ = session_.info().chief;
  was_there_ |= session_.info().has_model;
  std::vector<Heartbeat::Target> targets;
  for (std::size_t k = 0; k < links_.size(); ++k) {
    targets.push_back({links_[k]->endpoint(), session_.heartbeat(k), links_[k]->keys()});
  }
  heartbeat_.set_targets(std::move(targets));
  if (!std::exchange(opened_once_, true)) {
    for (const auto& link : links_) log_info("connected to {}", link->endpoint());
  }
  return session_.info();
}

void RemoteClient::create(const StoredModel& model) {
  created_ = model;
  session_.create(created_, clock_.now());
  drive();
  created_ = {};
  was_there_ = true;
}

std::int64_t RemoteClient::pull(ParameterSink& sink) {
  session_.pull(sink, clock_.now());
  drive();
  return session_.step();
}

std::optional<StoredModel> RemoteClient::snapshot() {
  session_.snapshot(clock_.now());
  drive();
  return session_.take_snapshot();
}

bool RemoteClient::await_others(TimeMs limit_ms) {
  session_.await_others(clock_.now());
  return drive(limit_ms);
}

void RemoteClient::done() {
  session_.done(clock_.now());
  drive();
  heartbeat_.stop();
}

void RemoteClient::leave() {
  heartbeat_.stop();
  session_.leave();
}

void RemoteClient::fail_run(const std::string& why) {
  heartbeat_.stop();
  session_.fail_run(why);
}

// ---- Turns, and what they cost ----

Turn RemoteClient::join(ParameterSink& sink) {
  session_.join(sink, clock_.now());
  drive();
  return session_.turn();
}

void RemoteClient::begin_push(const Numbers& gradients, std::int64_t step, std::int64_t samples) {
  const double began_s = monotonic_s();
  session_.begin_push(gradients, step, samples, clock_.now());
  costs_.push_s += monotonic_s() - began_s;
}

void RemoteClient::push(Range range) {
  const double began_s = monotonic_s();
  session_.push(range);
  costs_.push_s += monotonic_s() - began_s;
}

Turn RemoteClient::finish_push(ParameterSink& sink) {
  const double began_s = monotonic_s();
  for (auto& link : links_) link->reset_first_values();
  session_.finish_push(sink, clock_.now());
  drive();
  const double ended_s = monotonic_s();
  double first_values_s = ended_s;
  for (const auto& link : links_) first_values_s = std::min(first_values_s, link->first_values_s().value_or(ended_s));
  costs_.wait_s += first_values_s - began_s;
  costs_.pull_s += ended_s - first_values_s;
  offer_to_lead(clock_.now());  // This push is answered: nothing is lost.
  if (config_.strategy.ordered(links_.size())) costs_.others_s += static_cast<double>(session_.waited_ms()) / 1000;
  return session_.turn();
}

ExchangeCosts RemoteClient::costs() const {
  ExchangeCosts costs = costs_;
  for (const auto& link : links_) {
    costs.sent_bytes += link->sent_bytes();
    costs.received_bytes += link->received_bytes();
  }
  return costs;
}

// ---- The loop ----

bool RemoteClient::drive(std::optional<TimeMs> limit_ms) {
  const TimeMs began = clock_.now();
  try {
    while (true) {
      const TimeMs now = clock_.now();
      if (config_.beat) config_.beat();
      for (auto& link : links_) link->tend(session_, now);
      session_.on_tick(now);
      if (const auto* failure = session_.failure()) throw Error(failure->code, failure->reason);
      if (!session_.lost().empty()) throw SessionLost(session_.lost());
      if (session_.finished()) return true;
      if (!config_.conflict.empty() && !opened_once_ && session_.knows_no_chief()) {
        throw Error(ExitCode::kConflict, config_.conflict);
      }
      if (session_.waits_for_others()) offer_to_lead(now);
      const bool stops = config_.stop_requested && config_.stop_requested();
      // The caller goes on without the result.
      if (limit_ms && (stops || now - began >= *limit_ms)) return session_.give_up(), false;
      if (stops) require_patience(now);
      std::vector<ClientSocket*> sockets;
      for (auto& link : links_) sockets.push_back(link->socket());
      ClientSocket::poll(sockets, session_.connecting() ? kConnectPollMs : kPollMs);
    }
  } catch (...) {
    session_.give_up();
    throw;
  }
}

void RemoteClient::offer_to_lead(TimeMs now) {
  if (offers_to_lead_ || !config_.can_lead) return;
  if (!session_.lacks_chief()) {
    next_offer_ms_ = 0;
  } else if (next_offer_ms_ == 0) {
    next_offer_ms_ = now + static_cast<TimeMs>(config_.worker) * kOfferLaterMs;
  } else if (now >= next_offer_ms_) {
    next_offer_ms_ = now + kOfferEveryMs;
    offers_to_lead_ = config_.can_lead(was_there_);
    if (offers_to_lead_) throw SessionLost("the run has no chief any more; this worker offers to take its place");
  }
}

// Called once a stop is requested: still waits for what a ps can answer at once.
void RemoteClient::require_patience(TimeMs now) {
  if (std::exchange(stopped_request_, session_.requests()) != session_.requests()) stop_since_ = now;
  const TimeMs since_ms = now - stop_since_;
  if (session_.awaits_turn() && since_ms >= kTurnStopMs) throw StopRequested();
  if (opened_once_ && !session_.connecting() && since_ms < kStopGraceMs) return;
  fail(ExitCode::kInterrupted, "stopped by a signal while waiting for the ps tasks");
}

}  // namespace distmnist
