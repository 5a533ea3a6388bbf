// Script drives one Exchange alone, in one thread, with messages instead of sockets: a trace of a worker's conversation
// with one ps. Use Simulation for the Exchange together with real ps cores.
#pragma once

#include "lib/ps/client/exchange.h"
#include "tests/support/trace.h"

namespace distmnist::trace {

inline constexpr std::uint64_t kRun = 7, kEpoch = 500, kIncarnation = 10;
inline constexpr TimeMs kWaitMs = 60'000;

// A worker's conversation with a ps that holds [0,2) and [2,3). The test writes the messages of the ps.
class Script : public ExchangeRecorder {
 public:
  explicit Script(bool chief = false, std::vector<Range> pieces = {{0, 2}, {2, 1}})
      : exchange(config(chief, std::move(pieces)), *this), is_chief_(chief) {
    exchange.deliver_to(sinks());
  }

  // ---- the worker and its caller ----
  Lines open(std::uint64_t sequence = 1) {
    exchange.open(sequence, now);
    return take();
  }
  Lines connect() {
    exchange.on_connected(now);
    return take();
  }
  // Connects, sends a greeting, and is welcomed to a model at step 0.
  void start() {
    open();
    connect();
    welcome();
  }
  Lines push(std::uint64_t sequence) {
    exchange.begin({MessageType::kParameters, sequence, kRun, 0, 50}, now);
    exchange.add({MessageType::kPush, WireDtype::kF32, 0, {0, 2}, std::as_bytes(std::span(gradient_).first(2))});
    exchange.add({MessageType::kPush, WireDtype::kF32, 0, {2, 1}, std::as_bytes(std::span(gradient_).last(1))});
    exchange.end(now);
    return take();
  }
  Lines ask(MessageType question, MessageType answer, std::uint64_t sequence) {
    exchange.begin({answer, sequence, kRun}, now);
    exchange.add({question, WireDtype::kNone, 0, {}, {}});
    exchange.end(now);
    return take();
  }
  Lines tick(TimeMs time) {
    now = time;
    exchange.on_tick(now);
    return take();
  }

  // ---- messages of the ps ----
  Lines says(Message message) {
    exchange.on_message(received(std::move(message)), now);
    return take();
  }
  Lines says(MessageType type, std::uint64_t sequence = 0) { return says({ps.header_of(type, sequence), {}}); }
  Lines welcome(ModelState state = ModelState::kReady, std::int64_t step = 0) {
    Message message = ps.record(MessageType::kWelcome, encode(WelcomeRecord{state, is_chief_ ? 1u : 0u, {}}));
    message.header.step = step;
    return says(std::move(message));
  }
  Lines parameters(std::uint64_t sequence, std::int64_t offset, const std::vector<float>& values,
                   std::int64_t commit = 1) {
    return says(ps.values_of(MessageType::kParameters, sequence, offset, values, 0, commit));
  }
  Lines snapshot_data(std::uint64_t sequence, std::uint8_t slot, std::int64_t offset, const std::vector<float>& values,
                      std::int64_t commit = 1) {
    return says(ps.values_of(MessageType::kSnapshotData, sequence, offset, values, slot, commit));
  }
  Lines snapshot_end(std::uint64_t sequence, std::uint8_t num_slots, std::int64_t commit = 1) {
    Message message = ps.record(MessageType::kSnapshotEnd, encode(SnapshotRecord{{9, {{1, 4}}, {0}}}));
    message.header.sequence = sequence;
    message.header.slot = num_slots;
    message.header.commit = commit;
    return says(std::move(message));
  }
  Lines refuse(int code, const std::string& reason) {
    return says(ps.record(MessageType::kRefuse, encode(RefuseRecord{code, reason})));
  }

  // The ps, which sends messages to this worker.
  struct Ps : Peer {
    Header header_of(MessageType type, std::uint64_t with_sequence) const {
      Header out = header(type);
      out.sequence = with_sequence;
      return out;
    }
    Message values_of(MessageType type, std::uint64_t with_sequence, std::int64_t offset,
                      const std::vector<float>& floats, std::uint8_t slot, std::int64_t commit) const {
      Message out = values(type, offset, floats, slot);
      out.header.sequence = with_sequence;
      out.header.commit = out.header.step = commit;
      return out;
    }
  };

  TimeMs now = 0;
  Ps ps{{.worker = 1, .incarnation = kIncarnation, .lease = 3, .ps_epoch = kEpoch, .run = kRun}};
  Exchange exchange;

 private:
  static ExchangeConfig config(bool chief, std::vector<Range> pieces) {
    ExchangeConfig config;
    config.ps_name = "ps:0 localhost:2222";
    config.worker = 1;
    config.incarnation = kIncarnation;
    config.hello = {"", chief, 2, 1, 0, kJob, 3};
    config.pieces = std::move(pieces);
    config.limits.recovery_wait_ms = kWaitMs;
    return config;
  }
  std::vector<float> gradient_ = {1, 2, 3};
  bool is_chief_;
};

const Lines kPushLines = {"send push seq 2 [0,2) 1 2", "send push seq 2 [2,3) 3"};
Lines operator+(Lines first, const Lines& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}
inline bool failed_with(const Script& script, ExitCode code, const std::string& words) {
  const auto& failure = script.exchange.failure();
  return failure && failure->code == code && holds(failure->reason, words);
}

}  // namespace distmnist::trace
