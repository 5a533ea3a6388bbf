#include "lib/ps/client/exchange.h"

#include <algorithm>
#include <utility>

#include "lib/base/rare_log.h"
#include "lib/cluster/address.h"
#include "lib/ps/records/names.h"
#include "lib/wire/numbers.h"

namespace distmnist {
namespace {

double seconds(TimeMs ms) {
  return static_cast<double>(ms) / 1000;
}

}  // namespace

Exchange::Exchange(ExchangeConfig config, ExchangeActions& actions)
    : config_(std::move(config)), actions_(actions), chunks_(config_.pieces), hello_(encode(config_.hello)) {}

void Exchange::open(std::uint64_t sequence, TimeMs now) {
  hello_sequence_ = sequence;
  stale_.clear();
  request_.reset();
  run_ = 0;
  model_wait_since_ms_ = now;
  if (state_ == State::kClosed || state_ == State::kConnecting) {
    state_ = State::kConnecting;
    trouble_since_ms_ = now;
    trouble_.clear();  // The first search may take a while.
    last_report_ms_ = now - kReportEveryMs + kFirstReportMs;
  } else {
    greet(now);
  }
}

void Exchange::offer_to_lead(bool offers) {
  config_.hello.chief = offers;
  hello_ = encode(config_.hello);
}

void Exchange::begin(const RequestInfo& info, TimeMs now) {
  request_ = Request();
  request_->info = info;
  pause(now);
}

void Exchange::end(TimeMs now) {
  if (request_) request_->complete = true;
  pause(now);
}

void Exchange::pause(TimeMs now) {
  if (!request_) return;  // Already answered.
  // Silence counts from the question.
  request_->since_ms = request_->sent_ms = last_ping_ms_ = last_heard_ms_ = now;
}

void Exchange::add(const RequestPart& part) {
  if (!request_) return;  // Answered before it was complete.
  request_->parts.push_back(part);
  if (state_ != State::kOpen) return;
  request_->sent_here = true;
  send_part(part, Lifetime::kUntilAnswered);
}

void Exchange::leave() {
  if (state_ != State::kOpen && state_ != State::kAwaitingModel) return;
  actions_.send(header_for(MessageType::kLeave), {}, Lifetime::kCall);
}

void Exchange::leave(const RefuseRecord& why) {
  if (state_ != State::kOpen && state_ != State::kAwaitingModel) return;
  Header header = header_for(MessageType::kLeave);
  header.dtype = WireDtype::kRecord;
  const Frame record = encode(why);
  actions_.send(header, record.bytes(), Lifetime::kCall);
}

// ---- Connecting and handshake ----

void Exchange::on_connected(TimeMs now) {
  if (trouble_ != kNoAnswer) trouble_ = "has not answered yet";
  greet(now);
}

void Exchange::greet(TimeMs now) {
  if (state_ != State::kGreeting) {
    last_heard_ms_ = last_ping_ms_ = now;
    hello_again_ms_ = kHelloAgainMs;
  }
  state_ = State::kGreeting;
  last_hello_ms_ = now;
  Header header = header_for(MessageType::kHello);
  header.dtype = WireDtype::kRecord;
  header.sequence = hello_sequence_;
  header.run = header.ps_epoch = 0;  // The lease identifies the worker if it had one.
  actions_.send(header, hello_.bytes(), Lifetime::kCall);
}

void Exchange::on_unreachable(const std::string& why, TimeMs now) {
  if (!trouble_since_ms_) trouble_since_ms_ = now;
  trouble_ = why;
}

void Exchange::on_broken(const std::string& why, TimeMs now) {
  // A peer that does not answer a hello, or ZeroMQ's own greeting, may not be a ps at all.
  if (state_ != State::kConnecting) give_up_connection(state_ == State::kGreeting ? std::string(kNoAnswer) : why, now);
}

void Exchange::on_keys_differ(const std::string& why) {
  fail_with(ExitCode::kSecurity,
            fmt::format("{} {}; give --keys to every task, with keys from the same run of distmnist keygen, or to none",
                        config_.ps_name, why));
}

void Exchange::give_up_connection(const std::string& why, TimeMs now) {
  state_ = State::kConnecting;
  if (request_) request_->sent_here = false;
  trouble_since_ms_ = trouble_since_ms_.value_or(now);
  trouble_ = why;
  if (std::exchange(reported_, why) != why) last_report_ms_ = now - kReportEveryMs;  // Reported at once.
  actions_.reconnect();
}

void Exchange::on_welcome(const Message& message, TimeMs now) {
  const auto welcome = decode<WelcomeRecord>(message.payload.bytes());
  if (!welcome) return;
  const Header& header = message.header;
  const bool session_goes_on = run_ != 0 && header.run == run_ && header.ps_epoch == epoch_;
  const bool makes_model = request_ && request_->info.answer == MessageType::kWelcome;
  const bool creating = makes_model && request_->info.run == header.run;
  // A restarted ps must not get the model a second time: workers may have pushed to the first one.
  const bool is_another_process = makes_model && header.ps_epoch != epoch_;
  if ((run_ != 0 && !session_goes_on && !creating) || is_another_process) {
    stale_ = "a ps task lost its model, or the chief made a new one";
    return;
  }
  if (run_ != 0 && leads() && welcome->chief != config_.worker) {
    stale_ = fmt::format("{} has become the chief", task_name(welcome->chief));
  }
  welcome_ = *welcome;
  lease_ = header.lease;
  epoch_ = header.ps_epoch;
  // A welcome that nobody asked for must not change the step of the answer in progress.
  if (state_ != State::kOpen || creating) step_ = header.step;
  if (welcome->state == ModelState::kAwaitingModel && !leads()) {
    if (state_ != State::kAwaitingModel) model_wait_since_ms_ = now;
    state_ = State::kAwaitingModel;
    return;
  }
  run_ = header.run;
  const bool was_open = std::exchange(state_, State::kOpen) == State::kOpen;
  if (creating && welcome->state == ModelState::kReady) {
    finish_request();
  } else if (request_ && !was_open) {
    send_request(now);  // The connection was made again in the middle of a request.
  }
}

// ---- Requests and answers ----

Header Exchange::header_for(MessageType type) const {
  Header header;
  header.type = type;
  header.worker = config_.worker;
  header.incarnation = config_.incarnation;
  header.container = container_id(config_.hello.container);
  header.lease = lease_;
  header.ps_epoch = epoch_;
  header.run = request_ ? request_->info.run : run_;
  header.sequence = request_ ? request_->info.sequence : 0;
  header.step = request_ ? request_->info.step : step_;
  header.samples = request_ ? request_->info.samples : 0;
  header.wants = request_ ? request_->info.wants : WireDtype::kF32;
  return header;
}

void Exchange::send_part(const RequestPart& part, Lifetime lifetime) {
  Header header = header_for(part.type);
  header.dtype = part.dtype;
  header.slot = part.slot;
  header.commit = part.commit;
  header.flags = part.flags;
  header.range_offset = part.range.offset;
  header.range_size = part.range.size;
  actions_.send(header, part.bytes, lifetime);
}

// If a request is sent twice on one connection, its answer may arrive before the second copy has gone out. By then the
// first copy is no longer being sent.
void Exchange::send_request(TimeMs now) {
  request_->sent_ms = now;
  const Lifetime lifetime = std::exchange(request_->sent_here, true) ? Lifetime::kCall : Lifetime::kUntilAnswered;
  for (const RequestPart& part : request_->parts) send_part(part, lifetime);
}

void Exchange::on_progress(TimeMs now) {
  if (!request_ || state_ != State::kOpen) return;
  last_heard_ms_ = now;
  note_life(now);
}

void Exchange::on_message(Received&& received, TimeMs now) {
  const Header& header = received.message.header;
  if (received.fault == HeaderFault::kVersion) {
    return fail_with(
        ExitCode::kVersion,
        fmt::format(
            "{} speaks protocol version {}, but this program speaks {}; use the same version of distmnist everywhere",
            config_.ps_name, header.version, kProtocolVersion));
  }
  if (received.fault != HeaderFault::kNone || header.worker != config_.worker ||
      header.incarnation != config_.incarnation) {
    return;
  }
  if (header.step < 0 || header.step > kMaxCount || header.commit > kMaxCount) return;  // No real ps counts this far.
  last_heard_ms_ = now;
  lacks_chief_ = (header.flags & kLacksChief) != 0;
  trouble_since_ms_.reset();
  reported_.clear();
  switch (header.type) {
    case MessageType::kWelcome:
      return on_welcome(received.message, now);
    case MessageType::kRefuse: {
      const auto refusal = decode<RefuseRecord>(received.message.payload.bytes());
      const int code = refusal ? std::clamp(refusal->exit_code, 1, 255) : 1;
      const std::string reason = refusal ? refusal->reason : "no reason given";
      if (!failure_) {
        const bool ended = code == static_cast<int>(ExitCode::kDiverged);
        const std::string words = ended ? fmt::format("{} has ended the run: {}", config_.ps_name, reason)
                                        : fmt::format("refused by {}: {}", config_.ps_name, reason);
        failure_ = Failure{static_cast<ExitCode>(code), words, reason};
      }
      return;
    }
    case MessageType::kStale:
      if (state_ == State::kOpen || state_ == State::kAwaitingModel) greet(now);
      return;
    case MessageType::kPong:
      // There is a model now: the welcome that said so went to a broken connection.
      if (state_ == State::kAwaitingModel && header.run != 0) greet(now);
      return;
    case MessageType::kProbe:
      return actions_.send(header_for(MessageType::kPing), {}, Lifetime::kCall);
    case MessageType::kParameters:
    case MessageType::kSnapshotData:
      return on_values(received.message);
    case MessageType::kToken:
      return on_token(received.message);
    case MessageType::kNotice:
      return on_notice(received.message, now);
    default:
      return on_record(received.message);
  }
}

void Exchange::on_values(const Message& message) {
  const Header& header = message.header;
  if (!request_ || header.sequence != request_->info.sequence || header.run != request_->info.run) return;
  const bool parameters = header.type == MessageType::kParameters;
  const MessageType answer = request_->info.answer;
  const bool wanted = parameters ? answer == MessageType::kParameters || answer == MessageType::kToken
                                 : answer == MessageType::kSnapshotEnd;
  if (!wanted) return;
  const auto chunk = chunks_.find(header.range());
  const WireDtype dtype = parameters ? request_->info.wants : WireDtype::kF32;
  if (!chunk || header.dtype != dtype || (parameters && header.slot != 0)) return;
  if (!counts(header, *chunk)) return;
  if (header.range_size > 0 && header.slot < sinks_.size()) {
    deliver(message, *sinks_[header.slot]);
  }
  if (parameters) finish_if_whole(header);
}

void Exchange::deliver(const Message& message, ParameterSink& sink) {
  const Range range = message.header.range();
  const Numbers numbers{message.header.dtype, message.payload.bytes()};
  if (numbers.dtype == WireDtype::kF32) return sink.load(range, message.payload.floats());
  if (numbers.dtype == WireDtype::kBf16 && sink.load_bf16(range, halves(numbers))) return;
  floats_.resize(numbers.size());
  read_numbers(numbers, floats_);
  sink.load(range, floats_);
}

void Exchange::on_token(const Message& message) {
  const Header& header = message.header;
  if (!request_ || header.sequence != request_->info.sequence || request_->info.answer != MessageType::kToken) return;
  auto token = decode<TokenRecord>(message.payload.bytes());
  if (!token || !is_newest(header)) return;
  token_ = std::move(*token);
  request_->has_token = true;
  finish_if_whole(header);
}

void Exchange::on_notice(const Message& message, TimeMs now) {
  if (!request_ || message.header.sequence != request_->info.sequence) return;
  const auto notice = decode<NoticeRecord>(message.payload.bytes());
  if (!notice) return;
  note_life(now);  // The ps has the request: it does not have to be resent.
  if (now - last_notice_ms_ < kLeastNoticeMs) return;
  last_notice_ms_ = now;
  actions_.notice(fmt::format("{}: {}", config_.ps_name, shown(notice->text)));
}

// A request that was sent twice may be answered twice. All of an answer has the same commit: a newer commit starts the
// answer over, and an older one is ignored.
bool Exchange::is_newest(const Header& header) {
  Request& request = *request_;
  if (header.commit > request.commit) {
    request.commit = header.commit;
    request.present.clear();
    request.num_present = 0;
    request.has_token = false;
  }
  return header.commit == request.commit;
}

// False for values that have already arrived, and for those of an older answer.
bool Exchange::counts(const Header& header, std::size_t chunk) {
  if (!is_newest(header)) return false;
  Request& request = *request_;
  const std::size_t index = header.slot * chunks_.size() + chunk;
  if (index >= request.present.size()) request.present.resize(index + 1, false);
  if (request.present[index]) return false;
  request.present[index] = true;
  ++request.num_present;
  return true;
}

void Exchange::finish_if_whole(const Header& header) {
  step_ = header.step;
  commit_ = header.commit;
  const bool has_token = request_->has_token || request_->info.answer != MessageType::kToken;
  if (has_token && request_->num_present == chunks_.size()) finish_request();
}

// The request is being answered, or will be.
void Exchange::note_life(TimeMs now) {
  request_->since_ms = request_->sent_ms = now;
  request_->asked_again = false;
  unanswered_since_ms_.reset();
}

void Exchange::finish_request() {
  request_.reset();
  unanswered_since_ms_.reset();
}

void Exchange::on_record(const Message& message) {
  const Header& header = message.header;
  if (!request_ || header.sequence != request_->info.sequence || header.type != request_->info.answer) return;
  if (header.type == MessageType::kSnapshotEnd) {
    const bool whole =
        header.commit == request_->commit && request_->num_present == (1u + header.slot) * chunks_.size();
    if (!whole) return;  // The request is resent later.
  }
  if (header.type == MessageType::kSnapshotEnd) {
    const auto record = decode<SnapshotRecord>(message.payload.bytes());
    if (!record) return;
    snapshot_ = *record;
  }
  if (header.type == MessageType::kSnapshotPoint) {
    const auto record = decode<UpdatesRecord>(message.payload.bytes());
    if (!record) return;
    point_ = *record;
  }
  staged_is_bad_ = header.type == MessageType::kStaged && (header.flags & kNotFinite) != 0;
  step_ = header.step;
  commit_ = header.commit;
  finish_request();
  if (header.type == MessageType::kDoneAck) state_ = State::kClosed;  // The ps may be gone from now on.
}

// ---- Time ----

void Exchange::on_tick(TimeMs now) {
  if (state_ == State::kClosed || failure_) return;
  if (state_ != State::kConnecting && waiting()) watch_silence(now);
  watch_deadline(now);
}

void Exchange::watch_silence(TimeMs now) {
  const TimeMs silent_ms = now - last_heard_ms_;
  if (silent_ms >= config_.limits.silence_ms) {
    return give_up_connection(fmt::format("silent for {:.1f} s, last step {}", seconds(silent_ms), step_), now);
  }
  if (state_ == State::kGreeting) return watch_greeting(now);
  const TimeMs ping_after_ms = config_.limits.silence_ms / 3;
  if (silent_ms >= ping_after_ms && now - last_ping_ms_ >= ping_after_ms) {
    last_ping_ms_ = now;
    actions_.send(header_for(MessageType::kPing), {}, Lifetime::kCall);
  }
  if (state_ == State::kOpen && request_ && request_->complete) watch_request(now);
}

// Before the welcome there is no session that a ping could refer to: a ps that does not answer a hello gets another
// one.
void Exchange::watch_greeting(TimeMs now) {
  if (now - last_heard_ms_ >= kNoWelcomeMs && trouble_ != kNoAnswer) {
    trouble_since_ms_ = trouble_since_ms_.value_or(now);
    trouble_ = kNoAnswer;
    last_report_ms_ = now - kReportEveryMs;  // Reported at once.
  }
  if (now - last_hello_ms_ < hello_again_ms_) return;
  hello_again_ms_ *= 2;
  greet(now);
}

void Exchange::watch_request(TimeMs now) {
  if (now - request_->sent_ms < config_.limits.answer_ms) return;
  unanswered_since_ms_ = unanswered_since_ms_.value_or(request_->since_ms);
  const std::string what = fmt::format("{} is alive but has not answered a request for {:.1f} s, last step {}",
                                       config_.ps_name, seconds(now - *unanswered_since_ms_), step_);
  if (!std::exchange(request_->asked_again, true)) {
    last_report_ms_ = now;
    actions_.report(what + ": asking again");
    return send_request(now);
  }
  stale_ = what;
}

void Exchange::watch_deadline(TimeMs now) {
  std::string what;
  TimeMs since = now;
  if (trouble_since_ms_) {
    since = *trouble_since_ms_;
    what = fmt::format("{} {}", config_.ps_name, trouble_.empty() ? "cannot be reached" : trouble_);
  } else if (unanswered_since_ms_) {
    since = *unanswered_since_ms_;
    what = fmt::format("{} is alive but does not answer requests, last step {}", config_.ps_name, step_);
  } else if (state_ == State::kAwaitingModel) {
    since = model_wait_since_ms_;
    what = fmt::format("{} has no model yet: {} (the chief) has not initialised it", config_.ps_name,
                       task_name(chief() == kNoWorker ? 0 : chief()));
  } else {
    return;
  }
  const TimeMs waited = now - since;
  if (waited >= config_.limits.recovery_wait_ms) {
    return fail_with(ExitCode::kLostPeer, fmt::format("{}; gave up after {:.0f} s", what, seconds(waited)));
  }
  const bool knows_why = !trouble_since_ms_ || !trouble_.empty();
  if (knows_why && now - last_report_ms_ >= kReportEveryMs) {
    last_report_ms_ = now;
    actions_.report(
        fmt::format("{}; trying for another {:.0f} s", what, seconds(config_.limits.recovery_wait_ms - waited)));
  }
}

}  // namespace distmnist
