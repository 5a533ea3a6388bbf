#include "lib/ps/container.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "lib/base/counted.h"
#include "lib/base/rare_log.h"
#include "lib/math/magnitudes.h"
#include "lib/ps/names.h"

namespace distmnist {
namespace {

constexpr std::size_t kMaxLeaveReason = 1000;  // bytes of a worker's words that are passed on

// What is wrong with the pieces of a shard, of a model of `num_parameters`.
std::optional<std::string> fault_of(const std::vector<NamedRange>& pieces, std::int64_t num_parameters,
                                    const OptimizerSpec& optimizer) {
  std::int64_t end = 0, floats = 0;
  for (const NamedRange& piece : pieces) {
    const Range range = piece.range;
    if (!is_name(piece.name)) return "a variable whose name is none: " + name_rule();
    if (range.offset < end || range.size <= 0) return "pieces out of order or out of range";
    if (range.size > num_parameters || range.offset > num_parameters - range.size) {
      return fmt::format("a piece beyond the {} parameters that its chief's model has", num_parameters);
    }
    end = range.end();
    floats += range.size;
  }
  const auto copies = static_cast<std::int64_t>(1 + slot_names(optimizer.kind).size());
  if (floats > kMaxShardFloats / copies) return "more parameters than a ps takes";
  return std::nullopt;
}

std::optional<std::string> fault_of(const Strategy& strategy) {
  if (strategy.sync && (strategy.replicas_to_aggregate < 1 || strategy.replicas_to_aggregate > kMaxReplicas)) {
    return fmt::format("{} replicas to aggregate; 1 to {} are possible", strategy.replicas_to_aggregate, kMaxReplicas);
  }
  if (strategy.drop_above < 0 || strategy.max_staleness < kUnboundedStaleness || strategy.warmup_steps < 0 ||
      strategy.train_steps < 0) {
    return "a negative bound in its strategy";
  }
  return std::nullopt;
}

// What is wrong with the counts that a model goes on from.
std::optional<std::string> fault_of_counts(const CreateRecord& record) {
  if (record.global_step < 0) return "a negative global_step";
  if (record.global_step > kMaxCount) return "a global_step beyond all counting";
  for (const auto& [worker, samples] : record.consumed_samples) {
    if (samples < 0 || samples > kMaxCount) return fmt::format("{} samples of worker:{}", samples, worker);
  }
  return std::nullopt;
}

std::size_t bytes_of(const Fingerprint& fingerprint) {
  std::size_t bytes = 0;
  for (const auto& [name, value] : fingerprint) bytes += name.size() + value.size() + sizeof(Fingerprint::value_type);
  return bytes;
}

bool is_for_the_chief(MessageType type) {
  switch (type) {
    case MessageType::kCreate:
    case MessageType::kLoad:
    case MessageType::kCreateEnd:
    case MessageType::kSnapshotBegin:
    case MessageType::kSnapshotTake:
    case MessageType::kAwaitOthers:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Container::on_message(const Sender& from, Message&& message, TimeMs now) {
  if (failure_) return;
  handle(from, std::move(message), now);
  cut_orphans();
}

void Container::handle(const Sender& from, Message&& message, TimeMs now) {
  const Route& route = from.route;
  const Header header = message.header;
  if (header.worker >= ps_.num_workers) {
    return refuse(from, header, ExitCode::kUsage,
                  fmt::format("{} is not in the cluster of ps:{}, which has {}", task_name(header.worker), ps_.index,
                              counted(ps_.num_workers, "worker")));
  }
  Membership::Heard heard = members_.hear(header, route, now);
  if (heard.standing == Standing::kRetired) {
    return refuse(from, header, ExitCode::kConflict,
                  fmt::format("another process has taken {} over; stop this one", task_name(header.worker)));
  }
  if (heard.standing == Standing::kCurrent) actions_.keep(route);  // Also with a lease that has been renewed since.
  if (heard.returned) {
    log_event(Event::kBack, header.worker, "is back");
    if (turns_) turns_->arrive(header.worker);
  }
  for (const Greeting& other : heard.turned_away) {
    refuse(other.from, other.header, ExitCode::kConflict,
           fmt::format("{} is already running and answers; stop it, or give this process another --task_index",
                       task_name(header.worker)));
  }
  if (header.type == MessageType::kHello) return on_hello(from, message, now);

  const Session* session = members_.session(header.worker);
  const bool current =
      heard.standing == Standing::kCurrent && header.ps_epoch == ps_.epoch && header.lease == session->lease;
  if (!current) return reply(route, header, MessageType::kStale);
  if (is_for_the_chief(header.type) && !session->greeting.hello.chief) {
    return refuse(from, header, ExitCode::kUsage,
                  "only the chief, worker:0, creates the model, takes snapshots and awaits the others");
  }
  switch (header.type) {
    case MessageType::kPing:
      return reply(route, header, MessageType::kPong);
    case MessageType::kCreate:
      return on_create(from, message);
    case MessageType::kLoad:
      return on_load(from, message);
    case MessageType::kCreateEnd:
      return on_create_end(message, now);
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
      return on_commit(from, header, now);
    case MessageType::kAdvance:
      return on_advance(from, message);
    case MessageType::kSnapshotBegin:
    case MessageType::kSnapshotTake:
      return on_snapshot(from, std::move(message), now);
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
    log_event(Event::kLost, worker, fmt::format("silent for {:.1f} s: lost", kLeaseMs / 1000.0));
    depart(worker, now);
  }
  for (const std::uint32_t worker : tick.taken_over) {
    log_event(Event::kTakenOver, worker,
              fmt::format("the old process does not answer; the new one takes over, from {}",
                          members_.session(worker)->greeting.from.address));
    welcome(worker);
  }
  for (const std::uint32_t worker : tick.to_probe) probe(worker);
  cut_orphans();
  if (turns_) tick_turns(now);
  tick_snapshot(now);
}

void Container::log_event(Event event, std::uint32_t worker, const std::string& what) {
  const bool bad = event == Event::kLost || event == Event::kTakenOver;
  const std::string name = task_name(worker);
  actions_.log_event(bad ? LogLevel::kWarning : LogLevel::kInfo, fmt::format("{} {}", name, static_cast<int>(event)),
                     fmt::format("{}{} {}", name, event == Event::kTakenOver ? ":" : "", what));
}

void Container::end_session(const Header& header, TimeMs now) {
  if (!members_.is_current(header)) return;
  members_.dismiss(header.worker);
  depart(header.worker, now);
}

void Container::hang_up() {
  members_.dismiss_all();
  cut_orphans();
}

// ---- Who takes part ----

void Container::on_hello(const Sender& from, const Message& message, TimeMs now) {
  const Header& header = message.header;
  const auto hello = decode<HelloRecord>(message.payload.bytes());
  if (!hello || header.incarnation == 0) return cut_off(from, header, "a greeting that cannot be read");
  if (hello->num_ps != ps_.num_ps || hello->ps_index != ps_.index || hello->num_workers != ps_.num_workers) {
    return refuse(
        from, header, ExitCode::kUsage,
        fmt::format("the cluster descriptions differ: this is ps:{} of {} with {}, {} expects ps:{} of {} with "
                    "{}; give every task the same hosts{}",
                    ps_.index, ps_.num_ps, counted(ps_.num_workers, "worker"), task_name(header.worker),
                    hello->ps_index, hello->num_ps, counted(hello->num_workers, "worker"),
                    ps_.stay ? ", or a run of another size another --container" : ""));
  }
  if (hello->chief && header.worker != 0) {
    return refuse(from, header, ExitCode::kConflict,
                  fmt::format("worker:0 is the chief of a run, and {} asks to be it", task_name(header.worker)));
  }
  if (bytes_of(hello->fingerprint) > kMaxFingerprintBytes) {
    return refuse(from, header, ExitCode::kUsage,
                  fmt::format("{} describes its job in {} bytes, {} are the most; shorten its flags",
                              task_name(header.worker), bytes_of(hello->fingerprint), kMaxFingerprintBytes));
  }
  const Processes before = members_.processes();
  Greeting greeting{header, from, *hello};
  greeting.header.flags = header.flags & kChecksumData;
  if (!fits_job(greeting)) return;  // Not let in at all: it must not retire the process that has the task.
  switch (members_.greet(std::move(greeting), now)) {
    case Admission::kAdmitted:
      actions_.keep(from.route);
      if (before != members_.processes()) log_event(Event::kComes, header.worker, "takes part, from " + from.address);
      return welcome(header.worker);
    case Admission::kProbe:
      actions_.keep(from.route);
      return probe(header.worker);
    case Admission::kRetired:
      return refuse(from, header, ExitCode::kConflict,
                    fmt::format("another process has taken {} over; stop this one", task_name(header.worker)));
    case Admission::kTaken:
      return refuse(from, header, ExitCode::kConflict,
                    fmt::format("{} other processes are already asking for {}; stop all but one", kMaxNewcomers,
                                task_name(header.worker)));
  }
}

void Container::probe(std::uint32_t worker) {
  const Session* session = members_.session(worker);
  if (session == nullptr) return;
  for (const Route& to : {session->greeting.from.route, session->ping_route}) {
    if (!to.empty()) reply(to, session->greeting.header, MessageType::kProbe);
  }
}

void Container::probe_everyone() {
  for (const auto& [worker, member] : members_.members()) probe(worker);
}

// Why a process is not of the job whose model is here; empty where it is.
std::string Container::misfit(const HelloRecord& hello) const {
  if (!store_) return {};
  std::string difference = fingerprint_.empty() ? "" : first_difference(hello.fingerprint, fingerprint_);
  if (!difference.empty() || hello.num_parameters == num_parameters_) return difference;
  return fmt::format("its model has {} parameters and the chief's {}", hello.num_parameters, num_parameters_);
}

bool Container::fits_job(const Greeting& greeting) {
  const std::string difference = misfit(greeting.hello);
  if (difference.empty()) return true;
  refuse(greeting.from, greeting.header, ExitCode::kVersion,
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
  reply(greeting.from.route, greeting.header, MessageType::kWelcome, encode(record));
}

void Container::welcome_everyone() {
  for (const auto& [worker, member] : members_.members()) {
    if (member.session) welcome(worker);
  }
}

// ---- The model ----

void Container::on_create(const Sender& from, const Message& message) {
  const auto record = decode<CreateRecord>(message.payload.bytes());
  if (!record) return cut_off(from, message.header, "a creation that cannot be read");
  // Sent again although it is here already: starting over would undo the pushes since.
  if (store_ && run_ == message.header.run) return;
  if (const auto fault = fault_of_creation(*record, message.header)) {
    return refuse(from, message.header, ExitCode::kUsage, *fault);
  }
  try {
    VariableStore store(ranges_of(record->pieces), record->optimizer, record->global_step);
    const std::size_t parts = (1 + store.num_slots()) * store.chunks().size();
    creation_.emplace(Creation{message.header.run, message.header.incarnation, std::vector<bool>(parts, false),
                               record->consumed_samples, record->strategy, record->pieces, std::move(store)});
  } catch (const std::bad_alloc&) {
    refuse(from, message.header, ExitCode::kResources,
           fmt::format("ps:{} does not have the memory for its part of the model; use more ps tasks or a smaller model",
                       ps_.index));
  }
}

std::optional<std::string> Container::fault_of_creation(const CreateRecord& record, const Header& header) {
  if (header.run == 0) return "a model without a number";
  if (auto fault = fault_of(record.optimizer)) return fault;
  if (auto fault = fault_of(record.strategy)) return fault;
  if (auto fault = fault_of_counts(record)) return fault;
  const std::int64_t num_parameters = members_.session(header.worker)->greeting.hello.num_parameters;
  if (auto fault = fault_of(record.pieces, num_parameters, record.optimizer)) return fault;
  if (num_parameters > kMaxParameters) return fmt::format("a model of {} parameters", num_parameters);
  return std::nullopt;
}

void Container::on_load(const Sender& from, const Message& message) {
  const Header& header = message.header;
  if (!creation_ || creation_->run != header.run || creation_->incarnation != header.incarnation) return;
  VariableStore& store = creation_->store;
  const auto chunk = store.chunks().find(header.range());
  if (!chunk || header.slot > store.num_slots() || header.dtype != WireDtype::kF32) return;
  if (!all_finite(message.payload.floats())) {
    creation_.reset();
    return refuse(from, header, ExitCode::kData, "a start value of the model is not finite; start from another one");
  }
  const std::span<float> values = store.values(header.slot, *chunk);
  if (!values.empty()) std::memcpy(values.data(), message.payload.bytes().data(), values.size_bytes());
  creation_->loaded[header.slot * store.chunks().size() + *chunk] = true;
}

void Container::on_create_end(const Message& message, TimeMs now) {
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
  // Also of workers that this run has not, for it may be gone on with by more; but not of any number.
  const std::uint32_t num_histories = std::max(ps_.num_workers, kMaxWorkers);
  for (const auto& [worker, count] : creation_->consumed_samples) {
    if (worker < num_histories) histories_[worker].consumed_samples = count;
  }
  strategy_ = creation_->strategy;
  creation_.reset();
  hold_.reset();
  put_off_.reset();
  if (ps_.index == 0) turns_.emplace(strategy_, ps_.num_workers, now, limits_.recovery_wait_ms);
  staged_ = StagedPushes((strategy_.sync ? strategy_.replicas_to_aggregate : 1) + kMaxAbandonedPushes);
  updates_.clear();
  made_.clear();
  commits_on_hold_.clear();
  published_.forget();
  const HelloRecord& chief = members_.session(message.header.worker)->greeting.hello;
  fingerprint_ = chief.fingerprint;
  num_parameters_ = chief.num_parameters;
  actions_.log_event(
      LogLevel::kInfo, fmt::format("ready {}", message.header.incarnation),
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
  if (mark_of(message.header).before(history.mark)) return;  // Answered long ago.
  const bool whole = history.collector.add(store_->chunks(), route, std::move(message));
  if (history.collector.bad() && strategy_.on_nan == OnNan::kFail) {
    return fail_run(describe(history.collector.collected()) +
                    "; drop such gradients with --on_nan=skip, or lower --learning_rate");
  }
  if (!whole) return;
  WholePush push = history.collector.take();
  if (ordered()) return stage(std::move(push));
  if (hold_ && !hold_->admits(push)) return hold_->hold(std::move(push));
  if (hold_) {
    if (auto earlier = hold_->take_held_before(push.header.worker, push.header.incarnation)) apply(std::move(*earlier));
  }
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
  if (mark == history.mark || mark.before(history.mark)) {  // Applied before; only the answer was lost.
    return send_parameters(push.route, push.header, push.header.dtype);
  }
  history.mark = mark;
  history.consumed_samples += push.header.samples;
  published_.forget();
  all_or_nothing([&] {
    store_->begin_update();
    for (std::size_t chunk = 0; chunk < push.gradients.size(); ++chunk) {
      Frame frame = std::move(push.gradients[chunk]);
      // The new parameters are written over the gradient, and its memory goes back to the worker while the next chunk
      // is being worked on.
      const Numbers gradient{push.header.dtype, frame.bytes()};
      store_->apply(chunk, {&gradient, 1}, frame.bytes(), pool_);
      actions_.send(push.route, Message{values_header(push.header, MessageType::kParameters, chunk, gradient.dtype),
                                        std::move(frame)});
    }
  });
}

// ---- The end ----

void Container::on_leave(const Message& message, TimeMs now) {
  const Header& header = message.header;
  log_event(Event::kLeaves, header.worker, fmt::format("leaves at global_step {}", header.step));
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
  log_event(Event::kDone, header.worker, fmt::format("is done at global_step {}", header.step));
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
  // Nobody else is told of a lease, and nobody in another message.
  if (type == MessageType::kWelcome) header.lease = members_.members().at(request.worker).session->lease;
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

void Container::refuse(const Sender& to, const Header& request, ExitCode code, const std::string& reason) {
  actions_.log_about_peer(to.address,
                          fmt::format("refused {} of {}: {}", task_name(request.worker), to.address, shown(reason)));
  reply(to.route, request, MessageType::kRefuse, encode(RefuseRecord{static_cast<std::int32_t>(code), reason}));
}

void Container::cut_orphans() {
  for (const Route& route : members_.take_orphans()) actions_.cut(route);
}

void Container::cut_off(const Sender& from, const Header& header, const std::string& what) {
  actions_.log_about_peer(from.address, fmt::format("dropped the connection of {} of {}, which sent {}",
                                                    task_name(header.worker), from.address, what));
  actions_.cut(from.route);
}

}  // namespace distmnist
