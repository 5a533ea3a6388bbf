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
                    false,
                    config.num_workers,
                    static_cast<std::uint32_t>(config.ps.size()),
                    static_cast<std::uint32_t>(ps),
                    config.fingerprint,
                    config.num_parameters};
  exchange.pieces = ranges_of(config.plan[ps]);
  exchange.limits = config.limits;
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

void WorkerSession::open(bool offer_to_lead, TimeMs now) {
  ++sequence_;
  lost_.clear();
  for (Exchange& exchange : exchanges_) {
    exchange.offer_to_lead(offer_to_lead);
    exchange.open(sequence_, now);
  }
  enter(Phase::kOpening, all());
}

void WorkerSession::on_opened(TimeMs now) {
  const auto leads = [](const Exchange& exchange) { return exchange.leads(); };
  info_.chief = std::ranges::all_of(exchanges_, leads);
  // Where not all ps tasks agree, another worker has become the chief: this one gives the role back.
  if (!info_.chief && std::ranges::any_of(exchanges_, leads)) return open(false, now);
  // If the ps tasks do not all hold the same model, the chief makes it again on all of them.
  info_.has_model = std::ranges::all_of(exchanges_, [&](const Exchange& exchange) {
    return exchange.welcome().state != ModelState::kAwaitingModel && exchange.run() == lead().run();
  });
  if (!info_.has_model && !info_.chief) lost_ = "the ps tasks hold different models";
  info_.ended = lead().welcome().state == ModelState::kEnded;
  info_.global_step = lead().step();
  run_ = lead().run();
  phase_ = Phase::kIdle;
}

void WorkerSession::create(const StoredModel& model, TimeMs now) {
  run_ = config_.draw_run();
  ++sequence_;
  records_.clear();
  // A checkpoint that the run has not outgrown knows who was done. What this process knows counts in any case: these
  // workers have ended.
  std::set<std::uint32_t> done = done_;
  if (model.global_step >= config_.strategy.train_steps) done.insert(model.done.begin(), model.done.end());
  for (std::size_t k = 0; k < exchanges_.size(); ++k) {
    Exchange& exchange = exchanges_[k];
    CreateRecord record{config_.plan[k], config_.optimizer, config_.strategy, model.global_step, model};
    record.progress.done = done;
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

// The chief waits at ps 0 for the others, which therefore report to all ps tasks at once.
void WorkerSession::done(TimeMs now) {
  if (!info_.chief) return done_at(all(), Phase::kDone, now);
  done_at(others(), Phase::kDoneAtOthers, now);
  advance(now);
}

void WorkerSession::done_at(Asked asked, Phase phase, TimeMs now) {
  ask({.phase = phase, .asked = asked, .answer = MessageType::kDoneAck, .part = plain(MessageType::kDone)}, now);
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

// A ps other than ps 0 may not have made the last updates, if the worker that was to bring them has died.
void WorkerSession::pull(ParameterSink& sink, TimeMs now) {
  if (exchanges_.size() > 1) return join(sink, Phase::kPullingFromLead, WireDtype::kF32, now);
  ask({.phase = Phase::kPulling,
       .asked = all(),
       .answer = MessageType::kParameters,
       .part = plain(MessageType::kPull),
       .sinks = {&sink}},
      now);
}

void WorkerSession::join(ParameterSink& sink, TimeMs now) {
  join(sink, Phase::kJoining, config_.wire_dtype, now);
}

void WorkerSession::join(ParameterSink& sink, Phase phase, WireDtype wants, TimeMs now) {
  sink_ = &sink;
  wants_ = wants;
  ask({.phase = phase,
       .asked = lead_only(),
       .answer = MessageType::kToken,
       .part = plain(MessageType::kJoin),
       .wants = wants,
       .sinks = {&sink}},
      now);
}

void WorkerSession::begin_push(const Numbers& gradients, std::int64_t step, std::int64_t samples, TimeMs now) {
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
  const auto offset = static_cast<std::size_t>(range.offset), size = static_cast<std::size_t>(range.size);
  const Numbers numbers = gradients_.slice(offset, size);
  if (numbers.dtype == config_.wire_dtype) return numbers.bytes;
  const std::size_t width = bytes_per_number(config_.wire_dtype);
  wire_gradients_.resize(gradients_.size() * width);  // Only once: the block keeps its size.
  const std::span<std::byte> converted = std::span(wire_gradients_).subspan(offset * width, size * width);
  write_numbers(floats(numbers), config_.wire_dtype, converted);
  return converted;
}

void WorkerSession::finish_push(ParameterSink& sink, TimeMs now) {
  sink_ = &sink;
  wants_ = config_.wire_dtype;
  for (Exchange& exchange : exchanges_) {
    exchange.deliver_to({&sink});
    if (ordered() && &exchange == &lead()) {
      exchange.pause(now);  // Its kCommit follows.
    } else {
      exchange.end(now);
    }
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
       .wants = wants_,
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
  model_.reset();
  ask_for_point(now);
}

// With several ps tasks, ps 0 stops making updates and says which of them the others may not have made yet.
void WorkerSession::ask_for_point(TimeMs now) {
  ++snapshot_attempts_;
  if (exchanges_.size() == 1) return take_slots(now);
  ask({.phase = Phase::kSnapshotPoint,
       .asked = lead_only(),
       .answer = MessageType::kSnapshotPoint,
       .part = plain(MessageType::kSnapshotBegin)},
      now);
}

void WorkerSession::take_slots(TimeMs now) {
  copy_ = {};
  copy_.parameters.resize(static_cast<std::size_t>(config_.num_parameters));
  copy_.slots.assign(slot_names(config_.optimizer.kind).size(), std::vector<float>(copy_.parameters.size()));
  slot_sinks_.clear();
  slot_sinks_.emplace_back(copy_.parameters);
  for (std::vector<float>& slot : copy_.slots) slot_sinks_.emplace_back(slot);
  records_.clear();
  if (exchanges_.size() == 1) return take_from(all(), Phase::kSnapshotTake, now);
  take_from(others(), Phase::kSnapshotOthers, now);
}

void WorkerSession::take_from(Asked asked, Phase phase, TimeMs now) {
  UpdatesRecord target;
  if (phase == Phase::kSnapshotOthers) target.updates = lead().point().updates;
  Question question{.phase = phase,
                    .asked = asked,
                    .answer = MessageType::kSnapshotEnd,
                    .part = {MessageType::kSnapshotTake, WireDtype::kRecord, 0, {}, kept(encode(target))}};
  for (BlockSink& sink : slot_sinks_) question.sinks.push_back(&sink);
  ask(question, now);
}

// ps 0 makes no update before the others have copied their parts. Their data may still be on its way.
void WorkerSession::take_from_lead(TimeMs now) {
  take_from(lead_only(), Phase::kSnapshotTake, now);
  asked_ = all();
}

// If the question reaches ps 0 late, it has gone on and is past the agreed point.
void WorkerSession::compare_shards(TimeMs now) {
  const bool whole =
      std::ranges::all_of(exchanges_, [&](const Exchange& exchange) { return exchange.commit() == lead().commit(); });
  if (!whole && snapshot_attempts_ < kSnapshotAttempts) return ask_for_point(now);
  phase_ = Phase::kIdle;
  if (!whole) return;
  static_cast<RunProgress&>(copy_) = lead().snapshot().progress;
  copy_.global_step = step();
  model_ = std::move(copy_);
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
    exchanges_[k].end(now);
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
  // A ps that is lost takes this knowledge with it.
  if (const auto& done = lead().welcome().done; !done.empty()) done_ = done;
  for (const Exchange& exchange : exchanges_) {
    if (lost_.empty()) lost_ = exchange.stale();
  }
  while (phase_ != Phase::kIdle && lost_.empty() && has_answers()) next_phase(now);
}

bool WorkerSession::has_answers() const {
  for (std::size_t k = asked_.first; k < asked_.last; ++k) {
    const Exchange& exchange = exchanges_[k];
    const bool ready = phase_ == Phase::kOpening          ? exchange.opened()
                       : phase_ == Phase::kSnapshotOthers ? exchange.is_answering()
                                                          : exchange.answered();
    if (!ready) return false;
  }
  return true;
}

void WorkerSession::next_phase(TimeMs now) {
  switch (phase_) {
    case Phase::kOpening:
      return on_opened(now);
    case Phase::kPushing:
      return on_pushed();
    case Phase::kStaging:
      return commit(now);
    case Phase::kJoining:
    case Phase::kCommitting:
    case Phase::kPullingFromLead:
      return pull_from_others(now);
    case Phase::kAdvancing:
      return on_turn();
    case Phase::kSnapshotPoint:
      return take_slots(now);
    case Phase::kSnapshotOthers:
      return take_from_lead(now);
    case Phase::kSnapshotTake:
      return compare_shards(now);
    case Phase::kDoneAtOthers:
      return done_at(lead_only(), Phase::kDone, now);
    case Phase::kIdle:
    case Phase::kCreating:
    case Phase::kPulling:
    case Phase::kAwaitingOthers:
    case Phase::kDone:
      phase_ = Phase::kIdle;
  }
}

}  // namespace distmnist
