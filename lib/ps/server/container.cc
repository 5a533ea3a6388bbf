#include "lib/ps/server/container.h"

#include <algorithm>
#include <new>
#include <utility>

#include "lib/base/counted.h"
#include "lib/ps/records/names.h"

namespace distmnist {
namespace {

constexpr std::size_t kMaxLeaveReason = 1000;  // bytes of a worker's reason that are passed on

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
  if (run_.failure) return;
  chief_seen_ms_ = chief_seen_ms_.value_or(now);
  handle(from, std::move(message), now);
  cut_orphans();
}

void Container::handle(const Sender& from, Message&& message, TimeMs now) {
  const Route& route = from.route;
  const Header header = message.header;
  if (header.worker >= run_.ps.num_workers) {
    return run_.refuse(from, header, ExitCode::kUsage,
                       fmt::format("{} is not in the cluster of ps:{}, which has {}", task_name(header.worker),
                                   run_.ps.index, counted(run_.ps.num_workers, "worker")));
  }
  Membership::Heard heard = run_.members.hear(header, route, now);
  if (heard.standing == Standing::kRetired) {
    return run_.refuse(from, header, ExitCode::kConflict,
                       fmt::format("another process has taken over {}; stop this one", task_name(header.worker)));
  }
  if (heard.standing == Standing::kCurrent) run_.actions.keep(route);  // Also with a lease that was since renewed.
  if (heard.returned) {
    run_.log_event(RunState::Event::kBack, header.worker, "is back");
    if (parts_) parts_->ordered.arrive(header.worker);
  }
  if (heard.is_stuck) {
    run_.log_event(RunState::Event::kLost, header.worker,
                   fmt::format("answers, but its computation has made no progress for {} s, last step {}: lost",
                               header.samples, header.step));
    depart(header.worker, now);
  }
  for (const Greeting& other : heard.turned_away) {
    run_.refuse(other.from, other.header, ExitCode::kConflict,
                fmt::format("{} is already running; stop it, or give this process a different --task_index",
                            task_name(header.worker)));
  }
  if (header.type == MessageType::kHello) return on_hello(from, message, now);

  const Session* session = run_.members.session(header.worker);
  const bool current =
      heard.standing == Standing::kCurrent && header.ps_epoch == run_.ps.epoch && header.lease == session->lease;
  if (!current) return run_.reply(route, header, MessageType::kStale);
  if (is_for_the_chief(header.type) && chief_ != header.worker) {
    // It was the chief until another worker took its place, and learns of that from a new welcome.
    if (session->greeting.hello.chief) return run_.reply(route, header, MessageType::kStale);
    return run_.refuse(from, header, ExitCode::kUsage,
                       "only the chief may create the model, take snapshots and wait for the others");
  }
  switch (header.type) {
    case MessageType::kPing:
      return run_.reply(route, header, MessageType::kPong);
    case MessageType::kCreate:
      return on_create(from, message);
    case MessageType::kLoad:
      return on_load(from, message);
    case MessageType::kCreateEnd:
      return on_create_end(message, now);
    case MessageType::kLeave:
      return on_leave(message, now);
    default:
      break;
  }
  // The other messages refer to a model, which must be the present one.
  if (!has_model() || header.run != run_.shard->run) return run_.reply(route, header, MessageType::kStale);
  switch (header.type) {
    case MessageType::kPull:
      return run_.send_parameters(route, header, header.wants);
    case MessageType::kPush:
      return on_push(route, std::move(message), now);
    case MessageType::kJoin:
      return parts_->ordered.on_join(route, header, now);
    case MessageType::kCommit:
      return parts_->ordered.on_commit(from, header, parts_->snapshot.holds(), now);
    case MessageType::kAdvance:
      return parts_->ordered.on_advance(from, message);
    case MessageType::kSnapshotBegin:
    case MessageType::kSnapshotTake:
      return parts_->snapshot.on_question(from, std::move(message), now);
    case MessageType::kAwaitOthers:
      return on_await_others(route, header, now);
    case MessageType::kDone:
      return on_done(route, header, now);
    default:
      return;  // An answer: a ps never asks for one.
  }
}

void Container::on_tick(TimeMs now) {
  if (run_.failure) return;
  const Membership::Tick tick = run_.members.tick(now);
  for (const std::uint32_t worker : tick.lost) {
    run_.log_event(RunState::Event::kLost, worker,
                   fmt::format("silent for {:.1f} s: lost", static_cast<double>(run_.limits.silence_ms) / 1000));
    depart(worker, now);
  }
  for (const std::uint32_t worker : tick.taken_over) {
    run_.log_event(RunState::Event::kTakenOver, worker,
                   fmt::format("the old process does not answer; the new one, from {}, takes over",
                               run_.members.session(worker)->greeting.from.address));
    admit(worker, now);
  }
  for (const std::uint32_t worker : tick.to_probe) probe(worker);
  cut_orphans();
  watch_chief(now);
  tell_awaiting(now);
  late_ones_had_time_ = now - last_done_ms_ >= kLateWorkersMs;
  if (!parts_) return;
  parts_->ordered.tick(now);
  parts_->snapshot.tick(now);
}

void Container::end_session(const Header& header, TimeMs now) {
  if (!run_.members.is_current(header)) return;
  run_.members.dismiss(header.worker);
  depart(header.worker, now);
}

void Container::hang_up() {
  run_.members.dismiss_all();
  cut_orphans();
}

// ---- Members ----

void Container::on_hello(const Sender& from, const Message& message, TimeMs now) {
  const Header& header = message.header;
  const auto hello = decode<HelloRecord>(message.payload.bytes());
  if (!hello || header.incarnation == 0) return run_.cut_off(from, header, "a greeting that cannot be read");
  if (hello->num_ps != run_.ps.num_ps || hello->ps_index != run_.ps.index ||
      hello->num_workers != run_.ps.num_workers) {
    return run_.refuse(
        from, header, ExitCode::kUsage,
        fmt::format("the cluster descriptions differ: this is ps:{} of {} with {}, {} expects ps:{} of {} with "
                    "{}; give every task the same hosts{}",
                    run_.ps.index, run_.ps.num_ps, counted(run_.ps.num_workers, "worker"), task_name(header.worker),
                    hello->ps_index, hello->num_ps, counted(hello->num_workers, "worker"),
                    run_.ps.stay ? ", or give a run of a different size its own --container" : ""));
  }
  if (bytes_of(hello->fingerprint) > kMaxFingerprintBytes) {
    return run_.refuse(from, header, ExitCode::kUsage,
                       fmt::format("{} describes its job in {} bytes, but at most {} are allowed; shorten its flags",
                                   task_name(header.worker), bytes_of(hello->fingerprint), kMaxFingerprintBytes));
  }
  const bool is_new = run_.members.latest(header.worker) != header.incarnation;
  Greeting greeting{header, from, *hello};
  greeting.header.flags = header.flags & kChecksumData;
  if (!fits_job(greeting)) return;  // Not admitted at all: it must not retire the process that has the task.
  switch (run_.members.greet(std::move(greeting), now)) {
    case Admission::kAdmitted:
      run_.actions.keep(from.route);
      if (is_new) run_.log_event(RunState::Event::kComes, header.worker, "joined from " + from.address);
      return admit(header.worker, now);
    case Admission::kProbe:
      run_.actions.keep(from.route);
      return probe(header.worker);
    case Admission::kRetired:
      return run_.refuse(from, header, ExitCode::kConflict,
                         fmt::format("another process has taken over {}; stop this one", task_name(header.worker)));
    case Admission::kTaken:
      return run_.refuse(from, header, ExitCode::kConflict,
                         fmt::format("{} other processes are already asking to be {}; stop all but one", kMaxNewcomers,
                                     task_name(header.worker)));
  }
}

void Container::probe(std::uint32_t worker) {
  const Session* session = run_.members.session(worker);
  if (session == nullptr) return;
  for (const Route& to : {session->greeting.from.route, session->ping_route}) {
    if (!to.empty()) run_.reply(to, session->greeting.header, MessageType::kProbe);
  }
}

void Container::probe_everyone() {
  for (const auto& [worker, member] : run_.members.members()) probe(worker);
}

// Why a process does not belong to the job of the present model; empty if it does.
std::string Container::misfit(const HelloRecord& hello) const {
  if (!has_model()) return {};
  std::string difference = fingerprint_.empty() ? "" : first_difference(hello.fingerprint, fingerprint_);
  if (!difference.empty() || hello.num_parameters == num_parameters_) return difference;
  return fmt::format("its model has {} parameters but the chief's has {}", hello.num_parameters, num_parameters_);
}

bool Container::fits_job(const Greeting& greeting) {
  const std::string difference = misfit(greeting.hello);
  if (difference.empty()) return true;
  run_.refuse(greeting.from, greeting.header, ExitCode::kVersion,
              greeting.hello.chief
                  ? fmt::format("this ps already holds the model of a different job: {}; stop its ps tasks first{}",
                                difference, run_.ps.stay ? " or reset the container" : "")
                  : fmt::format("{} does not fit this job: {}; start it with the chief's flags",
                                task_name(greeting.header.worker), difference));
  return false;
}

void Container::admit(std::uint32_t worker, TimeMs now) {
  settle_chief(worker, now);
  welcome(worker);
}

void Container::settle_chief(std::uint32_t worker, TimeMs now) {
  Session* session = run_.members.session(worker);
  const Session* present = chief();
  const bool other_leads = present != nullptr && !present->lost && chief_ != worker;
  if (!session->greeting.hello.chief) {
    if (chief_ != worker) return;
    // It gives the role back, or is a new process that cannot have it. Another worker can take it at once.
    chief_.reset();
    chief_seen_ms_ = now - run_.limits.silence_ms;
  } else if (other_leads) {
    session->greeting.hello.chief = false;
  } else {
    const bool is_successor = has_model() && chief_ != worker;
    chief_ = worker;
    chief_seen_ms_ = now;
    run_.lacks_chief = false;
    if (is_successor) run_.log_event(RunState::Event::kLeads, worker, "is the chief from now on");
  }
}

void Container::watch_chief(TimeMs now) {
  const Session* present = chief();
  const bool is_there = present != nullptr && !present->lost;
  if (is_there) chief_seen_ms_ = present->last_heard_ms;
  const bool is_done = chief_ && run_.members.done().contains(*chief_);
  run_.lacks_chief = !is_there && !is_done && chief_seen_ms_ && now - *chief_seen_ms_ >= run_.limits.silence_ms;
}

void Container::welcome(std::uint32_t worker) {
  const Session* session = run_.members.session(worker);
  const Greeting& greeting = session->greeting;
  if (!fits_job(greeting)) return run_.members.dismiss(worker);  // It came before there was a model to fit.
  WelcomeRecord record{{}, chief_.value_or(kNoWorker), run_.members.done()};
  record.state = !has_model() ? ModelState::kAwaitingModel : ended() ? ModelState::kEnded : ModelState::kReady;
  run_.reply(greeting.from.route, greeting.header, MessageType::kWelcome, encode(record));
}

void Container::welcome_everyone() {
  for (const auto& [worker, member] : run_.members.members()) {
    if (member.session) welcome(worker);
  }
}

// ---- The model ----

void Container::on_create(const Sender& from, const Message& message) {
  const Header& header = message.header;
  const auto record = decode<CreateRecord>(message.payload.bytes());
  if (!record) return run_.cut_off(from, header, "a model description that cannot be read");
  // Sent again although it is already here: starting over would undo the pushes since.
  if (has_model() && run_.shard->run == header.run) return;
  const std::int64_t num_parameters = run_.members.session(header.worker)->greeting.hello.num_parameters;
  if (const auto fault = fault_of_creation(*record, header.run, num_parameters)) {
    return run_.refuse(from, header, ExitCode::kUsage, *fault);
  }
  try {
    creation_.emplace(header, *record);
  } catch (const std::bad_alloc&) {
    run_.refuse(from, header, ExitCode::kResources,
                fmt::format("ps:{} does not have the memory for its part of the model; use more ps tasks or a smaller "
                            "model",
                            run_.ps.index));
  }
}

void Container::on_load(const Sender& from, const Message& message) {
  if (!creation_ || creation_->load(message) != Creation::Loaded::kNotFinite) return;
  creation_.reset();
  run_.refuse(from, message.header, ExitCode::kData,
              "an initial value of the model is not finite; start from a different checkpoint");
}

void Container::on_create_end(const Message& message, TimeMs now) {
  const Header& header = message.header;
  if (!creation_ || !creation_->is_of_run(header.run)) {
    if (has_model() && run_.shard->run == header.run) welcome(header.worker);  // A repeated request: it is complete.
    return;
  }
  // If a part is missing, there is no answer: the chief sends the whole creation again.
  if (!creation_->is_whole()) return;
  const TimeMs rest_until_ms = parts_ ? parts_->snapshot.rest_until_ms() : 0;
  const std::set<std::uint32_t> done = creation_->done();
  // Also keeps the samples of workers that this run does not have, because a later run may have more; but only up to a
  // limit.
  Shard shard = creation_->finish(std::max(run_.ps.num_workers, kMaxWorkers));
  creation_.reset();
  parts_.reset();
  run_.shard.emplace(std::move(shard));
  try {
    parts_.emplace(run_, now, rest_until_ms);
  } catch (...) {
    run_.shard.reset();  // Never one without the other.
    throw;
  }
  run_.members.begin_again(done);
  for (const std::uint32_t worker : run_.members.done()) parts_->ordered.retire(worker, now);
  awaiting_end_.clear();  // They ask again.
  const HelloRecord& chief = run_.members.session(header.worker)->greeting.hello;
  fingerprint_ = chief.fingerprint;
  num_parameters_ = chief.num_parameters;
  const VariableStore& store = run_.shard->store;
  run_.actions.log_event(
      LogLevel::kInfo, fmt::format("ready {}", header.incarnation),
      fmt::format("model ready: {} parameters in {}, optimizer {}, global_step {}", store.chunks().num_floats(),
                  counted(static_cast<std::int64_t>(store.chunks().size()), "chunk"), to_string(store.optimizer().kind),
                  store.global_step()));
  welcome_everyone();
}

void Container::on_push(const Route& route, Message&& message, TimeMs now) {
  Shard& shard = *run_.shard;
  History& history = shard.histories[message.header.worker];
  if (mark_of(message.header).before(history.mark)) return;  // Answered long ago.
  const bool whole = history.collector.add(shard.store.chunks(), route, std::move(message));
  if (history.collector.bad() && shard.strategy.on_nan == OnNan::kFail) {
    return run_.fail_run(shard.describe(history.collector.collected()) +
                         "; drop such gradients with --on_nan=skip, or lower --learning_rate");
  }
  if (!whole) return;
  WholePush push = history.collector.take();
  if (run_.ordered()) return parts_->ordered.stage(std::move(push));
  run_.apply(std::move(push));
  parts_->ordered.note_update(now);
}

// ---- The end ----

// The worker's process no longer takes part.
void Container::depart(std::uint32_t worker, TimeMs now) {
  if (parts_) parts_->ordered.depart(worker, now);
}

bool Container::complete() const {
  if (!has_model() || run_.shard->strategy.train_steps == 0) return false;
  return chief_ && members().done().contains(*chief_) &&
         run_.shard->store.global_step() >= run_.shard->strategy.train_steps;
}

void Container::on_leave(const Message& message, TimeMs now) {
  const Header& header = message.header;
  run_.log_event(RunState::Event::kLeaves, header.worker, fmt::format("leaves at global_step {}", header.step));
  depart(header.worker, now);
  run_.members.leave(header.worker, now);
  awaiting_end_.erase(header.worker);
  tell_awaiting(now);
  if (header.dtype != WireDtype::kRecord) return;
  const auto why = decode<RefuseRecord>(message.payload.bytes());
  if (why && why->exit_code == static_cast<std::int32_t>(ExitCode::kDiverged)) {
    run_.fail_run(why->reason.substr(0, kMaxLeaveReason));
  }
}

void Container::on_await_others(const Route& route, const Header& header, TimeMs now) {
  awaiting_others_ = {route, header, now + kFirstNoticeMs};
  tell_awaiting(now);
}

// Until the chief has saved the model, a restarted ps may need every worker for the steps that were lost with it. The
// others therefore end after the chief.
void Container::on_done(const Route& route, const Header& header, TimeMs now) {
  const bool is_news = !run_.members.done().contains(header.worker);
  run_.members.set_done(header.worker);
  parts_->ordered.retire(header.worker, now);
  last_done_ms_ = now;
  late_ones_had_time_ = false;
  awaiting_end_[header.worker] = {route, header, now + kFirstNoticeMs};
  if (is_news) {
    run_.log_event(RunState::Event::kDone, header.worker, fmt::format("is done at global_step {}", header.step));
    // The chief has to know this if the ps is lost.
    if (chief() != nullptr && chief_ != header.worker) welcome(*chief_);
  }
  tell_awaiting(now);
}

const Session* Container::chief() const {
  if (!chief_) return nullptr;
  const auto at = run_.members.members().find(*chief_);
  return at == run_.members.members().end() || !at->second.session ? nullptr : &*at->second.session;
}

void Container::tell_awaiting(TimeMs now) {
  const auto notify = [&](Awaiting& awaiting, const std::string& text) {
    if (now < awaiting.notice_ms) return;
    awaiting.notice_ms = now + run_.notice_every_ms();
    run_.reply(awaiting.route, awaiting.question, MessageType::kNotice, encode(NoticeRecord{text}));
  };
  if (awaiting_others_ && run_.members.others_done(awaiting_others_->question.worker)) {
    run_.reply(awaiting_others_->route, awaiting_others_->question, MessageType::kOthersDone);
    awaiting_others_.reset();
  }
  if (awaiting_others_) notify(*awaiting_others_, "waiting for the other workers to be done");
  // Without a chief, one of them may become the chief, and save.
  const bool may_end = (chief_ && run_.members.done().contains(*chief_)) ||
                       (run_.lacks_chief && now - *chief_seen_ms_ >= run_.limits.silence_ms + kSuccessionMs);
  const std::string whom = chief_ ? task_name(*chief_) + ", the chief," : "a chief";
  for (auto& [worker, awaiting] : awaiting_end_) {
    if (may_end) {
      run_.reply(awaiting.route, awaiting.question, MessageType::kDoneAck);
    } else {
      notify(awaiting, fmt::format("waiting for {} to save the model", whom));
    }
  }
  if (may_end) awaiting_end_.clear();
}

void Container::cut_orphans() {
  for (const Route& route : run_.members.take_orphans()) run_.actions.cut(route);
}

}  // namespace distmnist
