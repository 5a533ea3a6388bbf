// Drives a worker's Exchange against a ps that can send anything. The input is a script of the worker's requests, the
// ps's messages and the passing time (exchange_script.h). The worker's side follows RemoteClient and PsLink.
#include <array>
#include <set>
#include <string>
#include <vector>

#include "lib/ps/client/exchange.h"
#include "lib/wire/numbers.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/exchange_script.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/wire.h"
#include "tests/support/trace.h"

namespace distmnist::fuzz {
namespace {

constexpr std::uint64_t kRun = 7, kEpoch = 500, kIncarnation = 10;
constexpr std::uint32_t kWorker = 1;
constexpr std::size_t kMostBytes = 4 << 20;  // largest amount of memory that a script may make the exchange hold
constexpr float kGradient[] = {1, 2, 3};

struct Question {
  MessageType question, answer;
};
// The requests with one part. kPush and kCreate have several parts.
constexpr Question kQuestions[] = {{MessageType::kPull, MessageType::kParameters},
                                   {MessageType::kJoin, MessageType::kToken},
                                   {MessageType::kAdvance, MessageType::kParameters},
                                   {MessageType::kSnapshotBegin, MessageType::kSnapshotPoint},
                                   {MessageType::kSnapshotTake, MessageType::kSnapshotEnd},
                                   {MessageType::kAwaitOthers, MessageType::kOthersDone},
                                   {MessageType::kDone, MessageType::kDoneAck}};
constexpr MessageType kPushAnswers[] = {MessageType::kParameters, MessageType::kToken, MessageType::kStaged};
constexpr std::size_t kRequests = std::size(kQuestions) + std::size(kPushAnswers) + 1;

class Script : public ExchangeActions {
 public:
  explicit Script(Input input) : input_(input), exchange_(config(), *this) {
    ps_.worker = kWorker;
    ps_.incarnation = kIncarnation;
    ps_.lease = 3;
    ps_.ps_epoch = kEpoch;
    ps_.run = kRun;
    exchange_.deliver_to({&slots_[0], &slots_[1], &slots_[2]});
    open();
  }

  // A worker that its ps has refused ends.
  void run() {
    while (!input_.empty() && !exchange_.failure()) {
      if (!exchange_.stale().empty()) open();
      act();
      check_answer();
      memory_.check_now();
    }
    if (exchange_.failure()) check(exchange_.failure()->code != ExitCode::kOk, "a failure has a code");
  }

  // ---- Actions of the exchange ----
  void send(const Header& header, std::span<const std::byte> payload, Lifetime) override {
    check_sendable(header, payload);
  }
  void reconnect() override { check(exchange_.wants_connection(), "who reconnects wants a connection"); }
  void report(const std::string&) override {}
  void notice(const std::string&) override {}

 private:
  struct Slot : ParameterSink {
    Slot(Script& script, int number) : script(script), number(number) {}
    void load(Range range, std::span<const float> values) override {
      check(values.size() == static_cast<std::size_t>(range.size), "values fill their range");
      check(script.exchange_.chunks().find(range).has_value(), "values are a chunk of this ps");
      if (number == 0) script.delivered_.insert(range.offset);
      script.sum_ += values.back();  // reads the values, so that the sanitizer checks their memory
    }
    Script& script;
    int number;
  };

  ExchangeConfig config() {
    const std::uint8_t bits = input_.byte();
    ExchangeConfig config;
    config.ps_name = "ps:0 localhost:2222";
    config.worker = kWorker;
    config.incarnation = kIncarnation;
    config.hello = trace_hello((bits & 1) != 0);
    if ((bits & 2) == 0) config.pieces = {{0, 2}, {2, 1}};
    config.limits.recovery_wait_ms = 60'000;
    return config;
  }
  static HelloRecord trace_hello(bool chief) {
    HelloRecord hello;
    hello.chief = chief;
    hello.num_workers = 2;
    hello.num_ps = 1;
    hello.fingerprint = trace::kJob;
    return hello;
  }

  void act() {
    const std::uint8_t byte = input_.byte();
    lies_ = (byte & kPsLies) != 0;
    switch (static_cast<ExchangeAct>((byte & ~kPsLies) % kExchangeActs)) {
      case ExchangeAct::kOpen:
        return open();
      case ExchangeAct::kBegin:
        return begin();
      case ExchangeAct::kAddPush:
        if (!building_) return;
        return add_push(input_.below(exchange_.chunks().size()));
      case ExchangeAct::kAddCommit:
        if (building_) exchange_.add({MessageType::kCommit, WireDtype::kNone, 0, {}, {}, exchange_.commit()});
        return;
      case ExchangeAct::kEnd:
        building_ = false;
        return exchange_.end(now_);
      case ExchangeAct::kLeave:
        return input_.flag() ? exchange_.leave({static_cast<std::int32_t>(ExitCode::kDiverged), "nan"})
                             : exchange_.leave();
      case ExchangeAct::kConnected:
        if (exchange_.wants_connection()) exchange_.on_connected(now_);
        return;
      case ExchangeAct::kUnreachable:
        if (exchange_.wants_connection()) exchange_.on_unreachable("refused the connection", now_);
        return;
      case ExchangeAct::kBroken:
        if (exchange_.connected()) exchange_.on_broken("broke the connection", now_);
        return;
      case ExchangeAct::kTick:
        now_ += take_time();
        return exchange_.on_tick(now_);
      case ExchangeAct::kWelcome:
        return welcome();
      case ExchangeAct::kValues:
        return say_values();
      case ExchangeAct::kAnswer:
        return say_all();
      case ExchangeAct::kToken:
        return say_token();
      case ExchangeAct::kNotice:
        return say(ps_.record(MessageType::kNotice, encode(NoticeRecord{input_.text()})));
      case ExchangeAct::kSnapshot:
        return say_snapshot();
      case ExchangeAct::kRefuse: {
        const auto code = static_cast<std::int32_t>(input_.number());
        return say(ps_.record(MessageType::kRefuse, encode(RefuseRecord{code, input_.text()})));
      }
      case ExchangeAct::kPlain:
        return say(ps_.plain(static_cast<MessageType>(32 + input_.below(16))));
      case ExchangeAct::kRecord: {
        const auto type = static_cast<MessageType>(32 + input_.below(16));
        return say(ps_.record(type, trace::frame_of(input_.sized())));
      }
      case ExchangeAct::kRawHeader: {
        const auto header = input_.raw<Header>();
        return say({header, trace::frame_of(input_.sized())});
      }
    }
  }

  TimeMs take_time() {
    static constexpr TimeMs kTimes[] = {0, 1, 100, 1'000, 3'000, 5'000, 10'000, 15'000, 60'000};
    return kTimes[input_.below(std::size(kTimes))];
  }
  WireDtype take_dtype() {
    static constexpr WireDtype kDtypes[] = {WireDtype::kF32, WireDtype::kBf16, WireDtype::kF16};
    return kDtypes[input_.below(std::size(kDtypes))];
  }

  // ---- The worker ----
  void open() {
    building_ = asking_ = false;
    exchange_.open(++ps_.sequence, now_);
  }

  void begin() {
    const std::size_t request = input_.below(kRequests);
    RequestInfo info;
    info.sequence = ++ps_.sequence;
    info.run = kRun;
    info.step = exchange_.step();
    info.samples = 50;
    info.wants = take_dtype();
    wants_ = info.wants;
    delivered_.clear();
    building_ = request >= std::size(kQuestions);
    asking_ = true;
    if (!building_) {
      info.answer = answer_ = kQuestions[request].answer;
      exchange_.begin(info, now_);
      return exchange_.add({kQuestions[request].question, WireDtype::kNone, 0, {}, {}});
    }
    const std::size_t push = request - std::size(kQuestions);
    answer_ = info.answer = push < std::size(kPushAnswers) ? kPushAnswers[push] : MessageType::kWelcome;
    exchange_.begin(info, now_);
  }
  void add_push(std::size_t chunk) {
    const Range range = exchange_.chunks().range(chunk);
    const auto gradient = std::span(kGradient).first(static_cast<std::size_t>(range.size));
    exchange_.add({MessageType::kPush, WireDtype::kF32, 0, range, std::as_bytes(gradient)});
  }

  // ---- The ps ----
  void say(Message&& message) {
    seal(message);
    if (lies_) tell_lies(input_, message.header);
    exchange_.on_message(cross_network(std::move(message)), now_);
  }
  // Uses the sequence and run of the worker's last question.
  void say_at(std::int64_t commit, Message&& message) {
    message.header.commit = message.header.step = commit;
    say(std::move(message));
  }

  void welcome() {
    WelcomeRecord record;
    record.state = static_cast<ModelState>(input_.below(3));
    const std::uint8_t bits = input_.byte();
    if ((bits & 16) != 0) record.done = {0, 7};
    if ((bits & 32) == 0) record.chief = (bits & 64) != 0 ? kWorker : 0;
    Message message = ps_.record(MessageType::kWelcome, encode(record));
    if ((bits & 1) != 0) message.header.run = 0;
    if ((bits & 2) != 0) message.header.run = kRun + 1;
    if ((bits & 4) != 0) message.header.ps_epoch = kEpoch + 1;
    if ((bits & 8) != 0) message.header.lease = 4;
    say(std::move(message));
  }
  Message values_of(std::uint8_t slot, std::size_t chunk, WireDtype dtype) {
    const Range range = exchange_.chunks().range(chunk);
    std::vector<float> floats(static_cast<std::size_t>(range.size));
    for (float& value : floats) value = input_.real();
    const MessageType type =
        slot == 0 && answer_ != MessageType::kSnapshotEnd ? MessageType::kParameters : MessageType::kSnapshotData;
    return ps_.values(type, range.offset, floats, slot, dtype);
  }
  void say_values() {
    const auto slot = static_cast<std::uint8_t>(input_.below(4));
    const std::size_t chunk = input_.below(exchange_.chunks().size());
    const WireDtype dtype = take_dtype();
    const std::int64_t commit = input_.signed_number();
    say_at(commit, values_of(slot, chunk, dtype));
  }
  void say_all() {
    const std::int64_t commit = input_.signed_number();
    for (std::size_t chunk = 0; chunk < exchange_.chunks().size(); ++chunk) say_at(commit, values_of(0, chunk, wants_));
    if (answer_ == MessageType::kToken) say_at(commit, ps_.record(MessageType::kToken, encode(TokenRecord{})));
  }
  void say_token() {
    TokenRecord record;
    const std::uint8_t bits = input_.byte();
    record.accepted = (bits & 1) != 0;
    record.finite = (bits & 2) != 0;
    const std::int64_t commit = input_.signed_number();
    record.consumed_samples = input_.signed_number();
    record.updates.resize(input_.below(4));
    say_at(commit, ps_.record(MessageType::kToken, encode(record)));
  }
  void say_snapshot() {
    const bool is_point = input_.flag();
    const MessageType type = is_point ? MessageType::kSnapshotPoint : MessageType::kSnapshotEnd;
    SnapshotRecord record;
    UpdatesRecord point;
    const auto slot = static_cast<std::uint8_t>(input_.below(4));
    const std::int64_t commit = input_.signed_number();
    for (std::size_t count = input_.below(4); count > 0; --count) {
      const auto worker = static_cast<std::uint32_t>(input_.number());
      record.progress.done.insert(worker);
      record.progress.consumed_samples[worker] = input_.signed_number();
      point.updates.push_back({input_.signed_number(), {{worker, {input_.number(), input_.number()}}}, 1});
    }
    Message message = ps_.record(type, is_point ? encode(point) : encode(record));
    message.header.slot = slot;
    say_at(commit, std::move(message));
  }

  // An answer must be complete when the worker is notified of it.
  void check_answer() {
    if (!asking_ || !exchange_.answered()) return;
    asking_ = false;
    if (answer_ != MessageType::kParameters && answer_ != MessageType::kToken) return;
    std::set<std::int64_t> wanted;
    for (std::size_t chunk = 0; chunk < exchange_.chunks().size(); ++chunk) {
      if (const Range range = exchange_.chunks().range(chunk); range.size > 0) wanted.insert(range.offset);
    }
    check(delivered_ == wanted, "an answer has all chunks");
  }

  MemoryWatch memory_{kMostBytes};
  Input input_;
  Exchange exchange_;
  trace::Peer ps_;  // its sequence is that of the worker's last question
  TimeMs now_ = 0;
  MessageType answer_ = MessageType::kParameters;
  WireDtype wants_ = WireDtype::kF32;
  bool lies_ = false;
  bool asking_ = false;    // a question has no answer yet
  bool building_ = false;  // more parts of the request will follow
  std::set<std::int64_t> delivered_;
  float sum_ = 0;
  std::array<Slot, 3> slots_{Slot{*this, 0}, Slot{*this, 1}, Slot{*this, 2}};
};

}  // namespace
}  // namespace distmnist::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  distmnist::fuzz::Script(distmnist::fuzz::Input(data, size)).run();
  return 0;
}
