#include "lib/ps/client/worker_session.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "lib/wire/numbers.h"

namespace distmnist {
namespace {

ExchangeConfig exchange_config(const WorkerSessionConfig& config, std::size_t ps) {
  ExchangeConfig exchange;
  exchange.ps_name = fmt::format("ps:{} {}", ps, config.ps[ps].to_string());
  exchange.worker = config.worker;
  exchange.incarnation = config.incarnation;
  exchange.hello = {config.container,
                    config.chief,
                    config.num_workers,
                    static_cast<std::uint32_t>(config.ps.size()),
                    static_cast<std::uint32_t>(ps),
                    config.fingerprint,
                    config.num_parameters};
  exchange.pieces = ranges_of(config.plan[ps]);
  exchange.recovery_wait_ms = config.recovery_wait_ms;
  return exchange;
}

// A part without a payload.
RequestPart plain(MessageType type) {
  return {.type = type, .range = {}, .bytes = {}};
}

}  // namespace

WorkerSession::WorkerSession(WorkerSessionConfig config, const std::vector<ExchangeActions*>& actions)
    : config_(std::move(config)), report_to_(actions.front()) {
  for (std::size_t k = 0; k < actions.size(); ++k) exchanges_.emplace_back(exchange_config(config_, k), *actions[k]);
}

// ---- The session ----

void WorkerSession::open(TimeMs now) {
  ++sequence_;
  lost_.clear();
  for (Exchange& exchange : exchanges_) exchange.open(sequence_, now);
  enter(Phase::kOpening, all());
}

void WorkerSession::on_opened() {
  // If the ps tasks do not all hold the same model, the chief makes it again on all of them.
  info_.has_model = std::ranges::all_of(exchanges_, [&](const Exchange& exchange) {
    return exchange.welcome().state != ModelState::kAwaitingModel && exchange.run() == lead().run();
  });
  if (!info_.has_model && !config_.chief) lost_ = "the ps tasks hold different models";
  info_.ended = lead().welcome().state == ModelState::kEnded;
  info_.global_step = lead().step();
  run_ = lead().run();
  phase_ = Phase::kIdle;
}

void WorkerSession::create(const StoredModel& model, TimeMs now) {
  run_ = config_.draw_run();
  ++sequence_;
  records_.clear();
  for (std::size_t k = 0; k < exchanges_.size(); ++k) {
    Exchange& exchange = exchanges_[k];
    const CreateRecord record{config_.plan[k], config_.optimizer, config_.strategy, model.global_step,
                              model.consumed_samples};
    exchange.begin({MessageType::kWelcome, sequence_, run_, model.global_step}, now);
    exchange.add({MessageType::kCreate, WireDtype::kRecord, 0, {}, kept(encode(record))});
    for (std::size_t slot = 0; slot <= model.slots.size(); ++slot) {
      const std::span<const float> block = slot == 0 ? model.parameters : model.slots[slot - 1];
      for (std::size_t chunk = 0; chunk < exchange.chunks().size(); ++chunk) {
        const Range range = exchange.chunks().range(chunk);
        exchange.add({MessageType::kLoad, WireDtype::kF32, static_cast<std::uint8_t>(slot), range,
                      std::as_bytes(slice(block, range))});
      }
    }
    exchange.add(plain(MessageType::kCreateEnd));
    exchange.end(now);
  }
  enter(Phase::kCreating, all());
}

void WorkerSession::await_others(TimeMs now) {
  ask({.phase = Phase::kAwaitingOthers,
       .asked = lead_only(),
       .answer = MessageType::kOthersDone,
       .part = plain(MessageType::kAwaitOthers)},
      now);
}

void WorkerSession::done(TimeMs now) {
  ask({.phase = Phase::kDone, .asked = all(), .answer = MessageType::kDoneAck, .part = plain(MessageType::kDone)}, now);
}

void WorkerSession::leave() {
  for (Exchange& exchange : exchanges_) exchange.leave();
}

void WorkerSession::fail_run(const std::string& why) {
  RefuseRecord record{static_cast<std::int32_t>(ExitCode::kDiverged),
                      fmt::format("worker:{} has ended the run: {}", config_.worker, why)};
  // The reason given by a ps is passed on to the others unchanged.
  for (const Exchange& exchange : exchanges_) {
    const auto& failure = exchange.failure();
    if (failure && failure->code == ExitCode::kDiverged) record.reason = failure->words_of_ps;
  }
  for (Exchange& exchange : exchanges_) exchange.leave(record);
}

// ---- Parameters and gradients ----

void WorkerSession::pull(ParameterSink& sink, TimeMs now) {
  ask({.phase = Phase::kPulling,
       .asked = all(),
       .answer = MessageType::kParameters,
       .part = plain(MessageType::kPull),
       .sinks = {&sink}},
      now);
}

void WorkerSession::join(ParameterSink& sink, TimeMs now) {
  sink_ = &sink;
  ask({.phase = Phase::kJoining,
       .asked = lead_only(),
       .answer = MessageType::kToken,
       .part = plain(MessageType::kJoin),
       .wants = config_.wire_dtype,
       .sinks = {&sink}},
      now);
}

void WorkerSession::begin_push(std::span<const float> gradients, std::int64_t step, std::int64_t samples, TimeMs now) {
  gradients_ = gradients;
  pushed_step_ = step;
  pushed_sequence_ = ++sequence_;
  drops_push_ = false;
  for (std::size_t k = 0; k < exchanges_.size(); ++k) {
    const MessageType answer = !ordered() ? MessageType::kParameters
                               : k == 0   ? MessageType::kToken
                                          : MessageType::kStaged;
    const RequestInfo info{answer, sequence_, run_, step, static_cast<std::uint32_t>(samples), config_.wire_dtype};
    exchanges_[k].deliver_to({});
    exchanges_[k].begin(info, now);
    // A ps that holds nothing still counts the push.
    if (exchanges_[k].chunks().num_floats() == 0) {
      exchanges_[k].add({MessageType::kPush, config_.wire_dtype, 0, {}, {}});
    }
  }
}

void WorkerSession::push(Range range) {
  for (Exchange& exchange : exchanges_) {
    const auto [first, last] = exchange.chunks().within(range);
    for (std::size_t chunk = first; chunk < last; ++chunk) {
      const Range chunk_range = exchange.chunks().range(chunk);
      exchange.add({MessageType::kPush, config_.wire_dtype, 0, chunk_range, on_the_wire(chunk_range)});
    }
  }
}

// The gradients of a range in the wire format, valid until the push is answered.
std::span<const std::byte> WorkerSession::on_the_wire(Range range) {
  const std::span<const float> floats = slice(gradients_, range);
  if (config_.wire_dtype == WireDtype::kF32) return std::as_bytes(floats);
  const std::size_t width = bytes_per_number(config_.wire_dtype);
  wire_gradients_.resize(gradients_.size() * width);  // Only once: the block keeps its size.
  const std::span<std::byte> numbers =
      std::span(wire_gradients_).subspan(static_cast<std::size_t>(range.offset) * width, floats.size() * width);
  write_numbers(floats, config_.wire_dtype, numbers);
  return numbers;
}

void WorkerSession::finish_push(ParameterSink& sink, TimeMs now) {
  sink_ = &sink;
  for (Exchange& exchange : exchanges_) {
    exchange.deliver_to({&sink});
    exchange.end(now);
  }
  if (ordered()) {
    enter(Phase::kStaging, others());
  } else {
    enter(Phase::kPushing, all());
  }
  advance(now);
}

void WorkerSession::on_pushed() {
  turn_ = {};
  turn_.global_step = step();
  turn_.staleness = std::max<std::int64_t>(0, step() - 1 - pushed_step_);
  phase_ = Phase::kIdle;
}

// Tells ps 0 that the push is complete on all others, and how far they all are.
void WorkerSession::commit(TimeMs now) {
  RequestPart commit = plain(MessageType::kCommit);
  commit.commit = lead().commit();
  bool bad = drops_push_;
  for (std::size_t k = 1; k < exchanges_.size(); ++k) {
    commit.commit = std::min(commit.commit, exchanges_[k].commit());
    bad |= exchanges_[k].staged_is_bad();
  }
  if (bad) commit.flags = kNotFinite;
  lead().add(commit);
  lead().end(now);
  enter(Phase::kCommitting, lead_only());
}

// The workers tell the other ps tasks which updates ps 0 has decided.
void WorkerSession::pull_from_others(TimeMs now) {
  const TokenRecord& token = lead().token();
  RequestPart part = plain(MessageType::kPull);
  records_.clear();
  if (ordered()) {
    part.type = MessageType::kAdvance;
    part.dtype = WireDtype::kRecord;
    part.bytes = kept(encode(UpdatesRecord{token.updates, token.accepted ? 0 : pushed_sequence_}));
  }
  ask({.phase = Phase::kAdvancing,
       .asked = others(),
       .answer = MessageType::kParameters,
       .part = part,
       .wants = config_.wire_dtype,
       .sinks = {sink_}},
      now);
}

void WorkerSession::on_turn() {
  const TokenRecord& token = lead().token();
  turn_ = {step(), token.consumed_samples, token.accepted, token.staleness, token.finite};
  phase_ = Phase::kIdle;
}

// ---- Snapshots ----

void WorkerSession::snapshot(TimeMs now) {
  snapshot_attempts_ = 0;
  ask_for_vectors(now);
}

// Each ps says which pushes it has. If ps 0 decides, it stops deciding and says which updates the others may not have
// applied yet.
void WorkerSession::ask_for_vectors(TimeMs now) {
  ++snapshot_attempts_;
  ask({.phase = Phase::kSnapshotVector,
       .asked = ordered() ? lead_only() : all(),
       .answer = MessageType::kSnapshotVector,
       .part = plain(MessageType::kSnapshotBegin)},
      now);
}

void WorkerSession::take_slots(TimeMs now) {
  target_ = {};
  certain_ = true;
  if (ordered()) {
    target_.updates = lead().snapshot().updates;
  } else {
    std::vector<SnapshotRecord> vectors;
    for (const Exchange& exchange : exchanges_) vectors.push_back(exchange.snapshot());
    NewestMarks newest = newest_marks(vectors);
    target_.marks = std::move(newest.marks);
    certain_ = newest.certain;
  }
  model_ = {};
  model_.parameters.resize(static_cast<std::size_t>(config_.num_parameters));
  model_.slots.assign(slot_names(config_.optimizer.kind).size(), std::vector<float>(model_.parameters.size()));
  slot_sinks_.clear();
  slot_sinks_.emplace_back(model_.parameters);
  for (std::vector<float>& slot : model_.slots) slot_sinks_.emplace_back(slot);
  records_.clear();
  Question question{.phase = Phase::kSnapshotTake,
                    .asked = all(),
                    .answer = MessageType::kSnapshotEnd,
                    .part = {MessageType::kSnapshotTake, WireDtype::kRecord, 0, {}, kept(encode(target_))}};
  for (BlockSink& sink : slot_sinks_) question.sinks.push_back(&sink);
  ask(question, now);
}

// A ps that was asked late has released its held pushes and is past the agreed point.
void WorkerSession::compare_shards(TimeMs now) {
  whole_ = certain_ && std::ranges::all_of(exchanges_, [&](const Exchange& exchange) {
             return ordered() ? exchange.commit() == lead().commit() : exchange.snapshot().marks == target_.marks;
           });
  if (!whole_ && snapshot_attempts_ < kSnapshotAttempts) return ask_for_vectors(now);
  if (!whole_) {
    report_to_->report(
        fmt::format("snapshot at global_step {}: the ps tasks have not all applied the same pushes, because a push of "
                    "a worker that died reached only some of them or because they answer too slowly",
                    step()));
  }
  model_.global_step = step();
  model_.consumed_samples = lead().snapshot().consumed_samples;
  phase_ = Phase::kIdle;
}

// ---- Phases ----

void WorkerSession::enter(Phase phase, Asked asked) {
  phase_ = phase;
  asked_ = asked;
  ++requests_;
}

void WorkerSession::ask(const Question& question, TimeMs now) {
  ++sequence_;
  const RequestInfo info{question.answer, sequence_, run_, step(), 0, question.wants};
  for (std::size_t k = question.asked.first; k < question.asked.last; ++k) {
    exchanges_[k].deliver_to(question.sinks);
    exchanges_[k].begin(info, now);
    exchanges_[k].add(question.part);
  }
  enter(question.phase, question.asked);
}

std::span<const std::byte> WorkerSession::kept(Frame record) {
  return records_.emplace_back(std::move(record)).bytes();
}

void WorkerSession::on_message(std::size_t ps, Received&& received, TimeMs now) {
  exchanges_[ps].on_message(std::move(received), now);
  advance(now);
}

void WorkerSession::on_tick(TimeMs now) {
  for (Exchange& exchange : exchanges_) exchange.on_tick(now);
  advance(now);
}

Header WorkerSession::heartbeat(std::size_t ps) const {
  Header header;
  header.worker = config_.worker;
  header.incarnation = config_.incarnation;
  header.container = container_id(config_.container);
  header.lease = exchanges_[ps].lease();
  header.ps_epoch = exchanges_[ps].ps_epoch();
  return header;
}

void WorkerSession::give_up() {
  phase_ = Phase::kIdle;
  for (Exchange& exchange : exchanges_) exchange.deliver_to({});
}

const Exchange::Failure* WorkerSession::failure() const {
  for (const Exchange& exchange : exchanges_) {
    if (exchange.failure()) return &*exchange.failure();
  }
  return nullptr;
}

bool WorkerSession::connecting() const {
  return std::ranges::any_of(exchanges_, [](const Exchange& exchange) { return exchange.wants_connection(); });
}

void WorkerSession::advance(TimeMs now) {
  const bool stale = std::ranges::any_of(exchanges_, [](const Exchange& exchange) { return exchange.stale(); });
  if (stale && lost_.empty()) lost_ = "a ps task lost its model, or the chief made a new one";
  while (phase_ != Phase::kIdle && lost_.empty() && has_answers()) next_phase(now);
}

bool WorkerSession::has_answers() const {
  for (std::size_t k = asked_.first; k < asked_.last; ++k) {
    const Exchange& exchange = exchanges_[k];
    if (!(phase_ == Phase::kOpening ? exchange.opened() : exchange.answered())) return false;
  }
  return true;
}

void WorkerSession::next_phase(TimeMs now) {
  switch (phase_) {
    case Phase::kOpening:
      return on_opened();
    case Phase::kPushing:
      return on_pushed();
    case Phase::kStaging:
      return commit(now);
    case Phase::kJoining:
    case Phase::kCommitting:
      return pull_from_others(now);
    case Phase::kAdvancing:
      return on_turn();
    case Phase::kSnapshotVector:
      return take_slots(now);
    case Phase::kSnapshotTake:
      return compare_shards(now);
    case Phase::kIdle:
    case Phase::kCreating:
    case Phase::kPulling:
    case Phase::kAwaitingOthers:
    case Phase::kDone:
      phase_ = Phase::kIdle;
  }
}

}  // namespace distmnist
