#include "lib/ps/remote_client.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "lib/base/log.h"
#include "lib/ps/newest_marks.h"
#include "lib/wire/numbers.h"

namespace distmnist {
namespace {

constexpr int kPollMs = 100;        // how often clocks are looked at while waiting
constexpr int kConnectPollMs = 20;  // and while a connection is being made

std::span<const std::byte> bytes_of(std::span<const float> values) {
  return std::as_bytes(values);
}

std::optional<ClientKeys> keys_for(const RemoteClientConfig& config, std::size_t ps) {
  return config.keys.empty() ? std::nullopt : std::optional(config.keys[ps]);
}

}  // namespace

RemoteClient::RemoteClient(RemoteClientConfig config)
    : config_(std::move(config)),
      context_(config_.context != nullptr ? *config_.context : own_context_.emplace()),
      heartbeat_(context_) {
  for (std::size_t k = 0; k < config_.ps.size(); ++k) {
    ExchangeConfig exchange;
    exchange.ps_name = fmt::format("ps:{} {}", k, config_.ps[k].to_string());
    exchange.worker = config_.worker;
    exchange.incarnation = config_.incarnation;
    exchange.hello = {config_.container,
                      config_.chief,
                      config_.num_workers,
                      static_cast<std::uint32_t>(config_.ps.size()),
                      static_cast<std::uint32_t>(k),
                      config_.fingerprint,
                      config_.num_parameters};
    exchange.pieces = ranges_of(config_.plan[k]);
    exchange.recovery_wait_ms = config_.recovery_wait_ms;
    links_.push_back(std::make_unique<PsLink>(context_, config_.ps[k],
                                              config_.endpoints.empty() ? std::string() : config_.endpoints[k],
                                              std::move(exchange), sink_, keys_for(config_, k)));
  }
}

RemoteClient::~RemoteClient() {
  heartbeat_.stop();
}

// ---- The session ----

SessionInfo RemoteClient::open() {
  ++sequence_;
  for (auto& link : links_) link->exchange.open(sequence_, monotonic_ms());
  drive([&] { return std::ranges::all_of(links_, [](const auto& link) { return link->exchange.opened(); }); }, {});
  start_heartbeat();
  const Exchange& first = links_.front()->exchange;
  SessionInfo info;
  // Where the ps tasks do not hold one and the same model, the chief makes it anew everywhere.
  info.has_model = std::ranges::all_of(links_, [&](const auto& link) {
    return link->exchange.welcome().state != ModelState::kAwaitingModel && link->exchange.run() == first.run();
  });
  if (!info.has_model && !config_.chief) throw SessionLost("the ps tasks hold different models");
  info.ended = first.welcome().state == ModelState::kEnded;
  info.global_step = first.step();
  run_ = first.run();
  if (!std::exchange(opened_once_, true)) {
    for (const auto& link : links_) log_info("connected to {}", link->endpoint());
  }
  return info;
}

void RemoteClient::start_heartbeat() {
  std::vector<Heartbeat::Target> targets;
  for (std::size_t k = 0; k < links_.size(); ++k) {
    const auto& link = links_[k];
    Header header;
    header.worker = config_.worker;
    header.incarnation = config_.incarnation;
    header.container = container_id(config_.container);
    header.lease = link->exchange.lease();
    header.ps_epoch = link->exchange.ps_epoch();
    targets.push_back({link->endpoint(), header, keys_for(config_, k)});
  }
  heartbeat_.set_targets(std::move(targets));
}

void RemoteClient::create(const StoredModel& model) {
  run_ = config_.draw_run();
  ++sequence_;
  std::vector<Frame> records;  // alive until everything is answered
  const TimeMs now = monotonic_ms();
  for (std::size_t k = 0; k < links_.size(); ++k) {
    records.push_back(encode(
        CreateRecord{config_.plan[k], model.optimizer, model.strategy, model.global_step, model.consumed_samples}));
    Exchange& exchange = links_[k]->exchange;
    exchange.begin({MessageType::kWelcome, sequence_, run_, model.global_step}, now);
    exchange.add({MessageType::kCreate, WireDtype::kRecord, 0, {}, records.back().bytes()});
    for (std::size_t slot = 0; slot <= model.slots.size(); ++slot) {
      const std::span<const float> block = slot == 0 ? model.parameters : model.slots[slot - 1];
      for (std::size_t chunk = 0; chunk < exchange.chunks().size(); ++chunk) {
        const Range range = exchange.chunks().range(chunk);
        exchange.add({MessageType::kLoad, WireDtype::kF32, static_cast<std::uint8_t>(slot), range,
                      bytes_of(slice(block, range))});
      }
    }
    exchange.add({MessageType::kCreateEnd, WireDtype::kNone, 0, {}, {}});
    exchange.end(now);
  }
  drive([&] { return answered(); }, {});
}

// ---- Parameters and gradients ----

std::int64_t RemoteClient::pull(const ParameterSink& sink) {
  ask(MessageType::kParameters, {MessageType::kPull, WireDtype::kNone, 0, {}, {}});
  drive([&] { return answered(); },
        [&](std::size_t, Range range, std::span<const float> values) { sink(range, values); });
  return step();
}

Turn RemoteClient::join(const ParameterSink& sink) {
  ++sequence_;
  Exchange& lead = links_.front()->exchange;
  lead.begin({MessageType::kToken, sequence_, run_, step(), 0, config_.wire_dtype}, monotonic_ms());
  lead.add({MessageType::kJoin, WireDtype::kNone, 0, {}, {}});
  return take_turn(sink);
}

void RemoteClient::begin_push(std::span<const float> gradients, std::int64_t step, std::int64_t samples) {
  const double began_s = monotonic_s();
  ++sequence_;
  gradients_ = gradients;
  pushed_step_ = step;
  drops_push_ = false;
  pushed_sequence_ = sequence_;
  const TimeMs now = monotonic_ms();
  const bool ordered = config_.strategy.ordered();
  for (std::size_t k = 0; k < links_.size(); ++k) {
    Exchange& exchange = links_[k]->exchange;
    const MessageType answer = !ordered ? MessageType::kParameters
                               : k == 0 ? MessageType::kToken
                                        : MessageType::kStaged;
    exchange.begin({answer, sequence_, run_, step, static_cast<std::uint32_t>(samples), config_.wire_dtype}, now);
    // A ps that holds nothing still counts the push.
    if (exchange.chunks().num_floats() == 0) exchange.add({MessageType::kPush, config_.wire_dtype, 0, {}, {}});
  }
  costs_.push_s += monotonic_s() - began_s;
}

void RemoteClient::push(Range range) {
  const double began_s = monotonic_s();
  for (auto& link : links_) {
    const ChunkTable& chunks = link->exchange.chunks();
    const auto [first, last] = chunks.within(range);
    for (std::size_t chunk = first; chunk < last; ++chunk) {
      const Range chunk_range = chunks.range(chunk);
      link->exchange.add({MessageType::kPush, config_.wire_dtype, 0, chunk_range, on_the_wire(chunk_range)});
    }
  }
  costs_.push_s += monotonic_s() - began_s;
}

std::span<const std::byte> RemoteClient::on_the_wire(Range range) {
  const std::span<const float> floats = slice(gradients_, range);
  if (config_.wire_dtype == WireDtype::kF32) return bytes_of(floats);
  const std::size_t width = bytes_per_number(config_.wire_dtype);
  wire_gradients_.resize(gradients_.size() * width);  // Once: a block keeps its size.
  const std::span<std::byte> numbers =
      std::span(wire_gradients_).subspan(static_cast<std::size_t>(range.offset) * width, floats.size() * width);
  write_numbers(floats, config_.wire_dtype, numbers);
  return numbers;
}

Turn RemoteClient::finish_push(const ParameterSink& sink) {
  const double began_s = monotonic_s();
  for (auto& link : links_) link->exchange.end(monotonic_ms());
  first_values_s_ = 0;
  Turn turn;
  if (config_.strategy.ordered()) {
    await_staging();
    turn = take_turn(sink);
    costs_.others_s += links_.front()->exchange.token().waited_ms / 1000.0;
  } else {
    drive([&] { return answered(); },
          [&](std::size_t, Range range, std::span<const float> values) { sink(range, values); });
    turn.global_step = step();
    turn.staleness = std::max<std::int64_t>(0, step() - 1 - pushed_step_);
  }
  const double ended_s = monotonic_s();
  if (first_values_s_ == 0) first_values_s_ = ended_s;  // No ps holds anything.
  costs_.wait_s += first_values_s_ - began_s;
  costs_.pull_s += ended_s - first_values_s_;
  return turn;
}

// Tells ps 0 that the push is whole everywhere, once it is.
void RemoteClient::await_staging() {
  drive([&] { return answered(1); }, {});
  RequestPart commit{MessageType::kCommit, WireDtype::kNone, 0, {}, {}};
  commit.commit = links_.front()->exchange.commit();
  bool bad = drops_push_;
  for (std::size_t k = 1; k < links_.size(); ++k) {
    commit.commit = std::min(commit.commit, links_[k]->exchange.commit());
    bad |= links_[k]->exchange.staged_is_bad();
  }
  if (bad) commit.flags = kNotFinite;
  links_.front()->exchange.add(commit);
  links_.front()->exchange.end(monotonic_ms());
}

// Waits for the token of ps 0, and pulls from the others.
Turn RemoteClient::take_turn(const ParameterSink& sink) {
  Exchange& lead = links_.front()->exchange;
  drive([&] { return lead.answered(); },
        [&](std::size_t, Range range, std::span<const float> values) { sink(range, values); }, Wait::kTurn);
  if (links_.size() > 1) pull_from_others(sink);
  const TokenRecord& token = lead.token();
  return {lead.step(), token.consumed_samples, token.accepted, token.staleness, token.finite};
}

// The others hear from the workers which updates ps 0 has decided.
void RemoteClient::pull_from_others(const ParameterSink& sink) {
  const TokenRecord& token = links_.front()->exchange.token();
  const Frame updates = encode(UpdatesRecord{token.updates, token.accepted ? 0 : pushed_sequence_});
  if (config_.strategy.ordered()) {
    ask(MessageType::kParameters, {MessageType::kAdvance, WireDtype::kRecord, 0, {}, updates.bytes()}, 1,
        config_.wire_dtype);
  } else {
    ask(MessageType::kParameters, {MessageType::kPull, WireDtype::kNone, 0, {}, {}}, 1, config_.wire_dtype);
  }
  drive([&] { return answered(1); },
        [&](std::size_t, Range range, std::span<const float> values) { sink(range, values); });
}

ExchangeCosts RemoteClient::costs() const {
  ExchangeCosts costs = costs_;
  for (const auto& link : links_) {
    costs.sent_bytes += link->sent_bytes();
    costs.received_bytes += link->received_bytes();
  }
  return costs;
}

StoredModel RemoteClient::snapshot() {
  StoredModel model;
  bool same = false;
  for (int attempt = 1; attempt <= kSnapshotAttempts && !same; ++attempt) {
    same = config_.strategy.ordered() ? try_ordered_snapshot(model) : try_snapshot(model);
  }
  if (!same) {
    log_warning(
        "snapshot at global_step {}: the ps tasks have not all applied the same pushes; a worker that died left one at "
        "some of them only, or they answer too slowly",
        step());
  }
  model.global_step = step();
  model.consumed_samples = links_.front()->exchange.snapshot().consumed_samples;
  return model;
}

// True where every ps has applied the same pushes.
bool RemoteClient::try_snapshot(StoredModel& model) {
  ask(MessageType::kSnapshotVector, {MessageType::kSnapshotBegin, WireDtype::kNone, 0, {}, {}});
  drive([&] { return answered(); }, {});
  const NewestMarks target = newest_marks(vectors());
  model = take_snapshot({target.marks, {}, {}, {}});
  // Else a ps that was asked late had let its pushes go, and is further than was agreed.
  const std::vector<SnapshotRecord> taken = vectors();
  return target.certain &&
         std::ranges::all_of(taken, [&](const SnapshotRecord& record) { return record.marks == target.marks; });
}

// Where ps 0 decides, it stops deciding, and says which updates the others may not have made yet.
bool RemoteClient::try_ordered_snapshot(StoredModel& model) {
  ++sequence_;
  Exchange& lead = links_.front()->exchange;
  lead.begin({MessageType::kSnapshotVector, sequence_, run_, step()}, monotonic_ms());
  lead.add({MessageType::kSnapshotBegin, WireDtype::kNone, 0, {}, {}});
  drive([&] { return lead.answered(); }, {});
  model = take_snapshot({{}, {}, lead.snapshot().updates, {}});
  return std::ranges::all_of(links_, [&](const auto& link) { return link->exchange.commit() == lead.commit(); });
}

std::vector<SnapshotRecord> RemoteClient::vectors() const {
  std::vector<SnapshotRecord> out;
  for (const auto& link : links_) out.push_back(link->exchange.snapshot());
  return out;
}

StoredModel RemoteClient::take_snapshot(const SnapshotRecord& target) {
  const Frame record = encode(target);
  StoredModel model;
  model.optimizer = config_.optimizer;
  model.strategy = config_.strategy;
  model.parameters.resize(static_cast<std::size_t>(config_.num_parameters));
  model.slots.resize(slot_names(config_.optimizer.kind).size());
  for (auto& slot : model.slots) slot.resize(model.parameters.size());
  ask(MessageType::kSnapshotEnd, {MessageType::kSnapshotTake, WireDtype::kRecord, 0, {}, record.bytes()});
  drive([&] { return answered(); },
        [&](std::size_t slot, Range range, std::span<const float> values) {
          if (slot > model.slots.size() || range.end() > config_.num_parameters) return;
          std::ranges::copy(values,
                            slice(std::span(slot == 0 ? model.parameters : model.slots[slot - 1]), range).begin());
        });
  return model;
}

// ---- The end ----

bool RemoteClient::await_others(TimeMs limit_ms) {
  ++sequence_;
  Exchange& exchange = links_.front()->exchange;
  exchange.begin({MessageType::kOthersDone, sequence_, run_, step()}, monotonic_ms());
  exchange.add({MessageType::kAwaitOthers, WireDtype::kNone, 0, {}, {}});
  return drive([&] { return exchange.answered(); }, {}, Wait::kWish, limit_ms);
}

void RemoteClient::done() {
  ask(MessageType::kDoneAck, {MessageType::kDone, WireDtype::kNone, 0, {}, {}});
  drive([&] { return answered(); }, {});
  heartbeat_.stop();
}

void RemoteClient::leave() {
  heartbeat_.stop();
  for (auto& link : links_) link->exchange.leave();
}

void RemoteClient::fail_run(const std::string& why) {
  heartbeat_.stop();
  RefuseRecord record{static_cast<std::int32_t>(ExitCode::kDiverged),
                      fmt::format("worker:{} has ended the run: {}", config_.worker, why)};
  // What a ps has said goes on to the others as it is.
  for (const auto& link : links_) {
    const auto& failure = link->exchange.failure();
    if (failure && failure->code == ExitCode::kDiverged) record.reason = failure->words_of_ps;
  }
  for (auto& link : links_) link->exchange.leave(record);
}

// ---- The loop ----

void RemoteClient::ask(MessageType answer, const RequestPart& part, std::size_t first, WireDtype wants) {
  ++sequence_;
  const TimeMs now = monotonic_ms();
  for (std::size_t k = first; k < links_.size(); ++k) {
    links_[k]->exchange.begin({answer, sequence_, run_, step(), 0, wants}, now);
    links_[k]->exchange.add(part);
  }
}

bool RemoteClient::drive(const std::function<bool()>& finished, const ValuesSink& sink, Wait wait, TimeMs limit_ms) {
  sink_ = [&](std::size_t slot, Range range, std::span<const float> values) {
    if (first_values_s_ == 0) first_values_s_ = monotonic_s();
    if (sink) sink(slot, range, values);
  };
  const TimeMs began = monotonic_ms();
  std::optional<TimeMs> stop_since;
  while (true) {
    const TimeMs now = monotonic_ms();
    bool connecting = false;
    std::vector<ClientSocket*> sockets;
    for (auto& link : links_) {
      link->receive(now);
      link->tend(now);
      connecting |= link->exchange.wants_connection();
      sockets.push_back(link->socket());
    }
    check_outcomes();
    if (finished()) return true;
    if (wait == Wait::kWish && now - began >= limit_ms) return false;
    if (config_.stop_requested && config_.stop_requested()) {
      if (wait == Wait::kWish) return false;  // The caller goes on without what is waited for.
      if (!stop_since) stop_since = now;
      if (wait == Wait::kTurn && now - *stop_since >= kTurnStopMs) throw StopRequested();
      const bool may_wait = opened_once_ && !connecting && now - *stop_since < kStopGraceMs;
      if (!may_wait) throw Error(ExitCode::kInterrupted, "stopped by a signal while waiting for the ps tasks");
    }
    ClientSocket::poll(sockets, connecting ? kConnectPollMs : kPollMs);
  }
}

bool RemoteClient::answered(std::size_t first) const {
  return std::all_of(links_.begin() + static_cast<std::ptrdiff_t>(first), links_.end(),
                     [](const auto& link) { return link->exchange.answered(); });
}

void RemoteClient::check_outcomes() {
  for (const auto& link : links_) {
    if (const auto& failure = link->exchange.failure()) throw Error(failure->code, failure->reason);
  }
  for (const auto& link : links_) {
    if (link->exchange.stale()) throw SessionLost("a ps task lost its model, or the chief made a new one");
  }
}

std::int64_t RemoteClient::step() const {
  return links_.front()->exchange.step();
}

}  // namespace distmnist
