#include "lib/ps/container.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "lib/base/counted.h"
#include "lib/math/magnitudes.h"

namespace distmnist {
namespace {

constexpr std::size_t kMaxLeaveReason = 1000;  // bytes of a worker's words that are passed on

std::string task_name(std::uint32_t worker) {
  return fmt::format("worker:{}", worker);
}

// The pieces of a creation, or what is wrong with them.
std::optional<std::string> fault_of(const CreateRecord& record) {
  if (auto fault = fault_of(record.optimizer)) return fault;
  if (record.global_step < 0) return "a negative global_step";
  const Strategy& strategy = record.strategy;
  if (strategy.sync && (strategy.replicas_to_aggregate < 1 || strategy.replicas_to_aggregate > kMaxReplicas)) {
    return fmt::format("{} replicas to aggregate; 1 to {} are possible", strategy.replicas_to_aggregate, kMaxReplicas);
  }
  if (strategy.drop_above < 0 || strategy.max_staleness < kUnboundedStaleness || strategy.warmup_steps < 0 ||
      strategy.train_steps < 0) {
    return "a negative bound in its strategy";
  }
  std::int64_t end = 0, floats = 0;
  for (const NamedRange& piece : record.pieces) {
    if (piece.range.offset < end || piece.range.size <= 0 || piece.range.size > kMaxShardFloats) {
      return "pieces out of order or out of range";
    }
    if (piece.range.offset > (std::int64_t{1} << 48)) return "pieces out of order or out of range";
    end = piece.range.end();
    floats += piece.range.size;
  }
  const auto copies = static_cast<std::int64_t>(1 + slot_names(record.optimizer.kind).size());
  if (floats > kMaxShardFloats / copies) return "more parameters than a ps takes";
  return std::nullopt;
}

}  // namespace

void Container::on_message(const Route& route, Message&& message, TimeMs now) {
  if (failure_) return;
  const Header header = message.header;
  if (header.worker >= ps_.num_workers) {
    return refuse(route, header, ExitCode::kUsage,
                  fmt::format("{} is not in the cluster of ps:{}, which has {}", task_name(header.worker), ps_.index,
                              counted(ps_.num_workers, "worker")));
  }
  Membership::Heard heard = members_.hear(header, route, now);
  if (heard.standing == Standing::kRetired) {
    return refuse(route, header, ExitCode::kConflict,
                  fmt::format("a newer process has taken {} over; stop this one", task_name(header.worker)));
  }
  if (heard.returned) {
    log(LogLevel::kInfo, fmt::format("{} is back", task_name(header.worker)));
    if (turns_) turns_->arrive(header.worker);
  }
  if (heard.turned_away) {
    refuse(heard.turned_away->route, heard.turned_away->header, ExitCode::kConflict,
           fmt::format("{} is already running and answers; stop it, or give this process another --task_index",
                       task_name(header.worker)));
  }
  if (header.type == MessageType::kHello) return on_hello(route, message, now);

  const Session* session = members_.session(header.worker);
  const bool current =
      heard.standing == Standing::kCurrent && header.ps_epoch == ps_.epoch && header.lease == session->lease;
  if (!current) return reply(route, header, MessageType::kStale);

  switch (header.type) {
    case MessageType::kPing:
      return reply(route, header, MessageType::kPong);
    case MessageType::kCreate:
      return on_create(route, message);
    case MessageType::kLoad:
      return on_load(route, message);
    case MessageType::kCreateEnd:
      return on_create_end(route, message, now);
    case MessageType::kDone:
      depart(header.worker, now);
      return on_done(route, header);
    case MessageType::kLeave:
      return on_leave(message, now);
    default:
      break;
  }
  // The rest speaks of a model, which must be the one that is here.
  if (!store_ || header.run != run_) return reply(route, header, MessageType::kStale);
  switch (header.type) {
    case MessageType::kPull:
      return on_pull(route, header);
    case MessageType::kPush:
      return on_push(route, std::move(message), now);
    case MessageType::kJoin:
      return on_join(route, header, now);
    case MessageType::kCommit:
      return on_commit(route, header, now);
    case MessageType::kAdvance:
      return on_advance(route, message);
    case MessageType::kSnapshotBegin:
      return on_snapshot_begin(route, header, now);
    case MessageType::kSnapshotTake:
      return on_snapshot_take(route, message, now);
    case MessageType::kAwaitOthers:
      return on_await_others(route, header);
    default:
      return;  // An answer, which a ps never asks for.
  }
}

void Container::on_tick(TimeMs now) {
  if (failure_) return;
  const Membership::Tick tick = members_.tick(now);
  for (const std::uint32_t worker : tick.lost) {
    log(LogLevel::kWarning, fmt::format("{} silent for {:.1f} s: lost", task_name(worker), kLeaseMs / 1000.0));
    depart(worker, now);
  }
  for (const std::uint32_t worker : tick.taken_over) {
    log(LogLevel::kWarning,
        fmt::format("{}: the old process does not answer; the new one takes over", task_name(worker)));
    welcome(worker);
  }
  if (turns_) tick_turns(now);
  if (!hold_ || !hold_->overdue(now)) return;
  if (hold_->take()) {
    log(LogLevel::kWarning, "snapshot: a push that reached another ps did not arrive here; taken without it");
    try_take(false, now);
  } else {
    release_hold(now);
  }
}

// ---- Who takes part ----

void Container::on_hello(const Route& route, const Message& message, TimeMs now) {
  const Header& header = message.header;
  const auto hello = decode<HelloRecord>(message.payload.bytes());
  if (!hello) return;  // Not something our worker sends.
  if (hello->num_ps != ps_.num_ps || hello->ps_index != ps_.index || hello->num_workers != ps_.num_workers) {
    return refuse(
        route, header, ExitCode::kUsage,
        fmt::format("the cluster descriptions differ: this is ps:{} of {} with {}, {} expects ps:{} of {} with "
                    "{}; give every task the same hosts{}",
                    ps_.index, ps_.num_ps, counted(ps_.num_workers, "worker"), task_name(header.worker),
                    hello->ps_index, hello->num_ps, counted(hello->num_workers, "worker"),
                    ps_.stay ? ", or a run of another size another --container" : ""));
  }
  Greeting greeting{header, route, *hello};
  greeting.header.flags = header.flags & kChecksumData;
  if (!fits_job(greeting)) return;  // Not let in at all: it must not retire the process that has the task.
  switch (members_.greet(std::move(greeting), now)) {
    case Admission::kAdmitted:
      return welcome(header.worker);
    case Admission::kProbe: {
      const Session* old = members_.session(header.worker);
      for (const Route& to : {old->greeting.route, old->ping_route}) {
        if (!to.empty()) reply(to, old->greeting.header, MessageType::kProbe);
      }
      return;
    }
    case Admission::kRetired:
      return refuse(route, header, ExitCode::kConflict,
                    fmt::format("a newer process has taken {} over; stop this one", task_name(header.worker)));
    case Admission::kTaken:
      return refuse(
          route, header, ExitCode::kConflict,
          fmt::format("another process is already asking for {}; stop one of them", task_name(header.worker)));
  }
}

bool Container::fits_job(const Greeting& greeting) {
  if (!store_ || fingerprint_.empty()) return true;
  const std::string difference = first_difference(greeting.hello.fingerprint, fingerprint_);
  if (difference.empty()) return true;
  refuse(greeting.route, greeting.header, ExitCode::kVersion,
         greeting.hello.chief
             ? fmt::format("this ps already holds a model of another job: {}; stop its ps tasks first{}", difference,
                           ps_.stay ? " or reset the container" : "")
             : fmt::format("{} does not fit this job: {}; start it with the chief's flags",
                           task_name(greeting.header.worker), difference));
  return false;
}

void Container::welcome(std::uint32_t worker) {
  const Session* session = members_.session(worker);
  const Greeting& greeting = session->greeting;
  if (!fits_job(greeting)) return members_.dismiss(worker);  // It greeted before there was a model to fit.
  WelcomeRecord record;
  record.state = !store_ ? ModelState::kAwaitingModel : ended() ? ModelState::kEnded : ModelState::kReady;
  reply(greeting.route, greeting.header, MessageType::kWelcome, encode(record));
}

void Container::welcome_everyone() {
  for (const auto& [worker, member] : members_.members()) {
    if (member.session) welcome(worker);
  }
}

// ---- The model ----

void Container::on_create(const Route& route, const Message& message) {
  const auto record = decode<CreateRecord>(message.payload.bytes());
  if (!record) return;
  if (!members_.session(message.header.worker)->greeting.hello.chief) {
    return refuse(route, message.header, ExitCode::kUsage, "only the chief creates the model");
  }
  // Sent again although it is here already: starting over would undo the pushes since.
  if (store_ && run_ == message.header.run) return;
  if (const auto fault = fault_of(*record)) return refuse(route, message.header, ExitCode::kUsage, *fault);
  try {
    VariableStore store(ranges_of(record->pieces), record->optimizer, record->global_step);
    const std::size_t parts = (1 + store.num_slots()) * store.chunks().size();
    creation_.emplace(Creation{message.header.run, message.header.incarnation, std::vector<bool>(parts, false),
                               record->consumed_samples, record->strategy, record->pieces, std::move(store)});
  } catch (const std::bad_alloc&) {
    refuse(route, message.header, ExitCode::kResources,
           fmt::format("ps:{} has not the memory for its part of the model; use more ps tasks or a smaller model",
                       ps_.index));
  }
}

void Container::on_load(const Route& route, const Message& message) {
  const Header& header = message.header;
  if (!creation_ || creation_->run != header.run || creation_->incarnation != header.incarnation) return;
  VariableStore& store = creation_->store;
  const auto chunk = store.chunks().find(header.range());
  if (!chunk || header.slot > store.num_slots() || header.dtype != WireDtype::kF32) return;
  if (!all_finite(message.payload.floats())) {
    creation_.reset();
    return refuse(route, header, ExitCode::kData, "a start value of the model is not finite; start from another one");
  }
  const std::span<float> values = store.values(header.slot, *chunk);
  if (!values.empty()) std::memcpy(values.data(), message.payload.bytes().data(), values.size_bytes());
  creation_->loaded[header.slot * store.chunks().size() + *chunk] = true;
}

void Container::on_create_end(const Route&, const Message& message, TimeMs now) {
  if (!creation_ || creation_->run != message.header.run) {
    if (store_ && run_ == message.header.run) welcome(message.header.worker);  // Asked again: it is done.
    return;
  }
  // With a part missing nothing is answered: the chief sends the whole creation again.
  if (std::find(creation_->loaded.begin(), creation_->loaded.end(), false) != creation_->loaded.end()) return;
  run_ = creation_->run;
  store_.emplace(std::move(creation_->store));
  pieces_ = std::move(creation_->pieces);
  histories_.clear();
  for (const auto& [worker, count] : creation_->consumed_samples) histories_[worker].consumed_samples = count;
  strategy_ = creation_->strategy;
  creation_.reset();
  hold_.reset();
  if (ps_.index == 0) turns_.emplace(strategy_, ps_.num_workers, now, limits_.recovery_wait_ms);
  staged_ = StagedPushes((strategy_.sync ? strategy_.replicas_to_aggregate : 1) + kMaxAbandonedPushes);
  updates_.clear();
  commits_on_hold_.clear();
  published_.forget();
  fingerprint_ = members_.session(message.header.worker)->greeting.hello.fingerprint;
  log(LogLevel::kInfo,
      fmt::format("model ready: {} parameters in {}, optimizer {}, global_step {}", store_->chunks().num_floats(),
                  counted(static_cast<std::int64_t>(store_->chunks().size()), "chunk"),
                  to_string(store_->optimizer().kind), store_->global_step()));
  welcome_everyone();
}

void Container::on_pull(const Route& route, const Header& header) {
  send_parameters(route, header, header.wants);
}

void Container::on_push(const Route& route, Message&& message, TimeMs now) {
  History& history = histories_[message.header.worker];
  if (mark_of(message.header) < history.mark) return;  // Answered long ago.
  const bool whole = history.collector.add(store_->chunks(), route, std::move(message));
  if (history.collector.bad() && strategy_.on_nan == OnNan::kFail) {
    return fail_run(describe(history.collector.collected()) +
                    "; drop such gradients with --on_nan=skip, or lower --learning_rate");
  }
  if (!whole) return;
  WholePush push = history.collector.take();
  if (ordered()) return stage(std::move(push));
  if (hold_ && !hold_->admits(push)) return hold_->hold(std::move(push));
  apply(std::move(push));
  if (hold_) try_take(true, now);
  if (!turns_) return;
  turns_->note_update(now);
  go_on(now);  // A newcomer may have waited for this step.
}

// "worker:1 has pushed a gradient with nan in conv1/weights at global_step 7"
std::string Container::describe(const WholePush& push) const {
  const auto piece =
      std::ranges::find_if(pieces_, [&](const NamedRange& each) { return push.bad->at < each.range.end(); });
  return fmt::format("{} has pushed a gradient with {} in {} at global_step {}", task_name(push.header.worker),
                     push.bad->text, piece == pieces_.end() ? "nothing" : piece->name, push.header.step);
}

void Container::apply(WholePush&& push) {
  History& history = histories_[push.header.worker];
  const PushMark mark = mark_of(push.header);
  if (mark <= history.mark) {  // Applied before; only the answer was lost.
    return send_parameters(push.route, push.header, push.header.dtype);
  }
  history.mark = mark;
  history.consumed_samples += push.header.samples;
  published_.forget();
  store_->begin_update();
  for (std::size_t chunk = 0; chunk < push.gradients.size(); ++chunk) {
    Frame frame = std::move(push.gradients[chunk]);
    // The new parameters are written over the gradient, and its memory goes back to the worker while the next chunk is
    // being worked on.
    const Numbers gradient{push.header.dtype, frame.bytes()};
    store_->apply(chunk, {&gradient, 1}, frame.bytes(), pool_);
    actions_.send(push.route, Message{values_header(push.header, MessageType::kParameters, chunk, gradient.dtype),
                                      std::move(frame)});
  }
}

// ---- The end ----

void Container::on_leave(const Message& message, TimeMs now) {
  const Header& header = message.header;
  log(LogLevel::kInfo, fmt::format("{} leaves at global_step {}", task_name(header.worker), header.step));
  depart(header.worker, now);
  members_.leave(header.worker, now);
  if (header.dtype != WireDtype::kRecord) return;
  const auto why = decode<RefuseRecord>(message.payload.bytes());
  if (why && why->exit_code == static_cast<std::int32_t>(ExitCode::kDiverged)) {
    fail_run(why->reason.substr(0, kMaxLeaveReason));
  }
}

void Container::fail_run(const std::string& reason) {
  if (!failure_) failure_ = reason;
}

void Container::on_await_others(const Route& route, const Header& header) {
  awaiting_others_ = {route, header};
  tell_awaiting();
}

void Container::on_done(const Route& route, const Header& header) {
  members_.set_done(header.worker);
  log(LogLevel::kInfo, fmt::format("{} is done at global_step {}", task_name(header.worker), header.step));
  reply(route, header, MessageType::kDoneAck);
  tell_awaiting();
}

void Container::tell_awaiting() {
  if (!awaiting_others_ || !members_.others_done(awaiting_others_->second.worker)) return;
  reply(awaiting_others_->first, awaiting_others_->second, MessageType::kOthersDone);
  awaiting_others_.reset();
}

// ---- Sending ----

Header Container::reply_header(const Header& request, MessageType type) const {
  Header header = answer_to(request, type, ps_.epoch);
  header.run = run_;
  const auto at = members_.members().find(request.worker);
  if (at != members_.members().end() && at->second.session) header.lease = at->second.session->lease;
  if (store_) {
    header.commit = store_->commit();
    header.step = store_->global_step();
  }
  return header;
}

Header Container::values_header(const Header& request, MessageType type, std::size_t chunk, WireDtype dtype) const {
  Header header = reply_header(request, type);
  header.dtype = dtype;
  header.range_offset = store_->chunks().range(chunk).offset;
  header.range_size = store_->chunks().range(chunk).size;
  return header;
}

void Container::reply(const Route& route, const Header& request, MessageType type, Frame record) {
  Header header = reply_header(request, type);
  header.dtype = record.size() > 0 ? WireDtype::kRecord : WireDtype::kNone;
  actions_.send(route, Message{header, std::move(record)});
}

// The parameters as they are now, even if the next push is applied before they are sent.
void Container::send_parameters(const Route& route, const Header& request, WireDtype dtype) {
  for (std::size_t chunk = 0; chunk < store_->chunks().size(); ++chunk) {
    actions_.send(route, Message{values_header(request, MessageType::kParameters, chunk, dtype),
                                 published_.chunk(*store_, dtype, chunk)});
  }
}

// The same of a snapshot's slot, always in float32.
void Container::send_slot(const Route& route, const Header& request, std::size_t slot) {
  for (std::size_t chunk = 0; chunk < store_->chunks().size(); ++chunk) {
    Header header = values_header(request, MessageType::kSnapshotData, chunk, WireDtype::kF32);
    header.slot = static_cast<std::uint8_t>(slot);
    if (slot == 0) {
      actions_.send(route, Message{header, published_.chunk(*store_, WireDtype::kF32, chunk)});
      continue;
    }
    const std::span<const float> values = std::as_const(*store_).values(slot, chunk);
    Frame frame = Frame::allocate(values.size_bytes());
    std::ranges::copy(values, frame.floats().begin());
    actions_.send(route, Message{header, std::move(frame)});
  }
}

void Container::refuse(const Route& route, const Header& request, ExitCode code, const std::string& reason) {
  log(LogLevel::kWarning, fmt::format("refused {}: {}", task_name(request.worker), reason));
  reply(route, request, MessageType::kRefuse, encode(RefuseRecord{static_cast<std::int32_t>(code), reason}));
}

}  // namespace distmnist
