// Traces drive the protocol's cores in one thread, with messages instead of sockets and a clock that the test moves.
// This header is the common base of PsScript, StayScript, JobScript, Script (exchange_script.h) and the simulation. A
// test determines who sends what and when; the core's messages are read as lines of text, one per message, so that a
// test case is a table of the rules:
//   "parameters [0,2) -1 -2 step 1", "refuse 5: ...", "snapshot_end samples 0:50 1:50"
#pragma once

#include <array>
#include <cstring>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "lib/ps/client/exchange.h"
#include "lib/ps/records/control.h"
#include "lib/ps/server/ps_actions.h"
#include "lib/wire/numbers.h"
#include "lib/wire/transport.h"

namespace distmnist {

// The limits of tasks that are started without flags.
inline constexpr TimeMs kLeaseMs = WaitLimits{}.silence_ms, kSilenceMs = kLeaseMs, kPingAfterMs = kSilenceMs / 3;
inline constexpr TimeMs kAnswerMs = WaitLimits{}.answer_ms;

}  // namespace distmnist

namespace distmnist::trace {

using Lines = std::vector<std::string>;

// ---- Messages as text ----

inline std::string name_of(MessageType type) {
  switch (type) {
    case MessageType::kReset:
      return "reset";
    case MessageType::kResetDone:
      return "reset_done";
    case MessageType::kVariable:
      return "variable";
    case MessageType::kVariableAnswer:
      return "variable_answer";
    case MessageType::kHello:
      return "hello";
    case MessageType::kCreate:
      return "create";
    case MessageType::kLoad:
      return "load";
    case MessageType::kCreateEnd:
      return "create_end";
    case MessageType::kPull:
      return "pull";
    case MessageType::kPush:
      return "push";
    case MessageType::kSnapshotBegin:
      return "snapshot_begin";
    case MessageType::kSnapshotTake:
      return "snapshot_take";
    case MessageType::kAwaitOthers:
      return "await_others";
    case MessageType::kDone:
      return "done";
    case MessageType::kLeave:
      return "leave";
    case MessageType::kPing:
      return "ping";
    case MessageType::kJoin:
      return "join";
    case MessageType::kCommit:
      return "commit";
    case MessageType::kAdvance:
      return "advance";
    case MessageType::kWelcome:
      return "welcome";
    case MessageType::kRefuse:
      return "refuse";
    case MessageType::kStale:
      return "stale";
    case MessageType::kParameters:
      return "parameters";
    case MessageType::kSnapshotPoint:
      return "snapshot_point";
    case MessageType::kSnapshotData:
      return "snapshot_data";
    case MessageType::kSnapshotEnd:
      return "snapshot_end";
    case MessageType::kOthersDone:
      return "others_done";
    case MessageType::kDoneAck:
      return "done_ack";
    case MessageType::kPong:
      return "pong";
    case MessageType::kProbe:
      return "probe";
    case MessageType::kStaged:
      return "staged";
    case MessageType::kToken:
      return "token";
    case MessageType::kNotice:
      return "notice";
  }
  return "?";
}

inline std::string text_of(ModelState state) {
  switch (state) {
    case ModelState::kAwaitingModel:
      return "awaiting_model";
    case ModelState::kReady:
      return "ready";
    case ModelState::kEnded:
      return "ended";
  }
  return "?";
}

inline std::string text_of(Range range, std::span<const float> values) {
  std::string out = fmt::format("[{},{})", range.offset, range.end());
  for (const float value : values) out += fmt::format(" {}", value);
  return out;
}

inline std::string text_of(const PushId& id) {
  return fmt::format("{}:{}/{}", id.worker, id.mark.incarnation, id.mark.sequence);
}

// Only workers that have any: " samples 0:100 1:50".
inline std::string text_of(const ConsumedSamples& samples) {
  std::string out;
  for (const auto& [worker, count] : samples) {
    if (count != 0) out += fmt::format(" {}:{}", worker, count);
  }
  return out.empty() ? out : fmt::format(" samples{}", out);
}

// The workers that are done: " done 0 2".
inline std::string text_of(const std::set<std::uint32_t>& done) {
  return done.empty() ? "" : fmt::format(" done {}", fmt::join(done, " "));
}

// " update 1{0:10/3 1:11/1}", with " * 0.5" if the learning rate is scaled.
inline std::string text_of(const std::vector<Update>& updates) {
  std::string out;
  for (const Update& update : updates) {
    out += fmt::format(" update {}{{", update.commit);
    for (const PushId& id : update.pushes) out += fmt::format("{}{}", out.back() == '{' ? "" : " ", text_of(id));
    out += update.rate_factor == 1 ? "}" : fmt::format("}} * {}", update.rate_factor);
  }
  return out;
}

// The numbers of a payload of any wire type.
inline std::vector<float> floats_of(WireDtype dtype, std::span<const std::byte> bytes) {
  const Numbers numbers{dtype, bytes};
  std::vector<float> out(numbers.size());
  read_numbers(numbers, out);
  return out;
}
inline std::string note_of(WireDtype dtype) {
  return dtype == WireDtype::kF32 ? "" : fmt::format("({}) ", to_string(dtype));
}

// A message of a ps in one line, without routing, lease and sequence, which separate tests check.
inline std::string describe(const Message& message) {
  const Header& header = message.header;
  const std::string name = name_of(header.type);
  switch (header.type) {
    case MessageType::kResetDone: {
      const auto record = decode<ResetDoneRecord>(message.payload.bytes());
      if (!record) return name + " (broken)";
      std::string out = name;
      for (const ResetDoneRecord::Container& container : record->containers) {
        out += fmt::format(" '{}'", container.name) +
               (container.was_there ? fmt::format(" ended {}", container.num_sessions) : " was not there");
      }
      return out;
    }
    case MessageType::kVariableAnswer: {
      const auto record = decode<VariableAnswerRecord>(message.payload.bytes());
      if (!record) return name + " (broken)";
      std::string out = fmt::format("{} {}", name, record->value);
      for (const auto& [variable, value] : record->shared) out += fmt::format(" {}={}", variable, value);
      for (const auto& [variable, floats] : record->model) out += fmt::format(" {}[{}]", variable, floats);
      return out;
    }
    case MessageType::kWelcome: {
      const auto record = decode<WelcomeRecord>(message.payload.bytes());
      if (!record) return name + " (broken)";
      return fmt::format("{} {}, step {}{}", name, text_of(record->state), header.step, text_of(record->done));
    }
    case MessageType::kRefuse: {
      const auto record = decode<RefuseRecord>(message.payload.bytes());
      return record ? fmt::format("{} {}: {}", name, record->exit_code, record->reason) : name + " (broken)";
    }
    case MessageType::kParameters:
      return fmt::format("{} {}{} step {}", name, note_of(header.dtype),
                         text_of(header.range(), floats_of(header.dtype, message.payload.bytes())), header.step);
    case MessageType::kSnapshotData:
      return fmt::format("{} slot {} {}{}", name, header.slot, note_of(header.dtype),
                         text_of(header.range(), floats_of(header.dtype, message.payload.bytes())));
    case MessageType::kSnapshotPoint: {
      const auto record = decode<UpdatesRecord>(message.payload.bytes());
      return record ? name + text_of(record->updates) : name + " (broken)";
    }
    case MessageType::kSnapshotEnd: {
      const auto record = decode<SnapshotRecord>(message.payload.bytes());
      if (!record) return name + " (broken)";
      return name + text_of(record->progress.consumed_samples) + text_of(record->progress.done);
    }
    case MessageType::kToken: {
      const auto record = decode<TokenRecord>(message.payload.bytes());
      if (!record) return name + " (broken)";
      const std::string dropped = record->accepted ? "" : ", dropped";
      const std::string staleness = record->staleness == 0 ? "" : fmt::format(", stale by {}", record->staleness);
      return fmt::format("{} step {}, sample {}{}{}{}", name, header.step, record->consumed_samples, dropped, staleness,
                         text_of(record->updates));
    }
    case MessageType::kNotice: {
      const auto record = decode<NoticeRecord>(message.payload.bytes());
      return record ? name + ": " + record->text : name + " (broken)";
    }
    default:
      return name;
  }
}

inline bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
inline bool any_holds(const Lines& lines, const std::string& part) {
  for (const std::string& line : lines) {
    if (holds(line, part)) return true;
  }
  return false;
}

// ---- Messages as bytes ----

inline Frame frame_of(std::span<const std::byte> bytes) {
  Frame frame = Frame::allocate(bytes.size());
  if (!bytes.empty()) std::memcpy(frame.bytes().data(), bytes.data(), bytes.size());
  return frame;
}
inline Frame frame_of(const std::vector<float>& values, WireDtype dtype = WireDtype::kF32) {
  Frame frame = Frame::allocate(values.size() * bytes_per_number(dtype));
  write_numbers(values, dtype, frame.bytes());
  return frame;
}

inline Message copy_of(const Message& message) {
  return {message.header, frame_of(message.payload.bytes())};
}

// A message as a socket returns it, with the fields that the sender's transport sets.
inline Received received(Message message) {
  message.header.payload_bytes = static_cast<std::uint32_t>(message.payload.size());
  return {std::move(message), HeaderFault::kNone};
}

// ---- The side of a ps ----

// Records the actions of a ps core.
class PsRecorder : public PsActions {
 public:
  struct Sent {
    Route to;
    Message message;
  };
  void send(const Route& to, Message&& message) override { sent.push_back({to, std::move(message)}); }
  void keep(const Route& peer) override { kept.insert(peer); }
  void cut(const Route& peer) override { was_cut.insert(peer); }
  void log(LogLevel, const std::string& line) override { log_lines.push_back(line); }

  std::vector<Sent> sent;
  std::set<Route> kept, was_cut;
  Lines log_lines;
};

// A worker process as seen by a ps. It builds the messages of a script, and gets its lease from its last welcome.
struct Peer {
  std::uint32_t worker = 0;
  std::uint64_t incarnation = 10;
  bool chief = false;
  Route route = "a";
  std::uint64_t lease = 0, ps_epoch = 0, run = 0;
  std::uint64_t sequence = 0;
  std::int64_t step = 0;      // of its parameters
  std::uint32_t samples = 0;  // of each of its batches
  std::string container = {};
  std::int64_t num_parameters = 3;         // of its model, over all ps tasks
  WireDtype wire_dtype = WireDtype::kF32;  // of its pushes and of the parameters that it requests

  Header header(MessageType type) const {
    Header header;
    header.type = type;
    header.worker = worker;
    header.incarnation = incarnation;
    header.container = container_id(container);
    header.lease = lease;
    header.ps_epoch = ps_epoch;
    header.run = run;
    header.sequence = sequence;
    header.step = step;
    header.samples = samples;
    header.wants = wire_dtype;
    return header;
  }
  Message plain(MessageType type) const { return {header(type), {}}; }
  Message record(MessageType type, Frame frame) const {
    Message out{header(type), std::move(frame)};
    out.header.dtype = WireDtype::kRecord;
    return out;
  }
  Message values(MessageType type, std::int64_t offset, const std::vector<float>& values, std::uint8_t slot = 0,
                 WireDtype dtype = WireDtype::kF32) const {
    Message out{header(type), frame_of(values, dtype)};
    out.header.dtype = dtype;
    out.header.slot = slot;
    out.header.range_offset = offset;
    out.header.range_size = static_cast<std::int64_t>(values.size());
    return out;
  }

  Message hello(const Fingerprint& fingerprint, std::uint32_t num_workers, std::uint32_t num_ps,
                std::uint32_t ps) const {
    return record(MessageType::kHello,
                  encode(HelloRecord{container, chief, num_workers, num_ps, ps, fingerprint, num_parameters}));
  }
  Message load(std::int64_t offset, const std::vector<float>& floats, std::uint8_t slot = 0) const {
    return values(MessageType::kLoad, offset, floats, slot);
  }
  Message push(std::int64_t offset, const std::vector<float>& gradient) const {
    return values(MessageType::kPush, offset, gradient, 0, wire_dtype);
  }
  // Asks for a snapshot after these updates.
  Message take(const std::vector<Update>& updates = {}) const {
    return record(MessageType::kSnapshotTake, encode(UpdatesRecord{updates}));
  }

  // Stores the values of a welcome.
  void learn(const Header& welcome) {
    lease = welcome.lease;
    ps_epoch = welcome.ps_epoch;
    run = welcome.run;
  }
};

inline const Fingerprint kJob = {{"--model", "mnist_cnn"}, {"--batch_size", "50"}};

// A ps core and the processes that send messages to it. Its messages are read as "route: message". Time stands still
// unless a test moves it.
template <class Core>
class PsTrace {
 public:
  template <class... Args>
  explicit PsTrace(Args&&... args) : core(std::forward<Args>(args)...) {}

  // The messages that the core sends when it receives this message from `peer`.
  Lines say(Peer& peer, Message message) {
    peers_[peer.route] = &peer;
    message.header.payload_bytes = static_cast<std::uint32_t>(message.payload.size());
    deliver(core, peer.route, std::move(message));
    return take();
  }
  // The messages that the core sends when the clock reaches `time`.
  Lines tick(TimeMs time) {
    now = time;
    core.on_tick(now);
    return take();
  }

  PsRecorder actions;
  Sender sender;                            // of all messages, except for the route
  std::vector<PsRecorder::Sent> last_sent;  // the messages behind the last lines
  TimeMs now = 0;
  Core core;

 private:
  Lines take() {
    Lines lines;
    last_sent = std::exchange(actions.sent, {});
    for (const PsRecorder::Sent& sent : last_sent) {
      lines.push_back(sent.to + ": " + describe(sent.message));
      const Header& header = sent.message.header;
      const auto at = peers_.find(sent.to);
      const bool theirs = at != peers_.end() && at->second->incarnation == header.incarnation;
      if (header.type == MessageType::kWelcome && theirs) at->second->learn(header);
    }
    return lines;
  }
  // A Container receives messages, a whole PsCore receives the output of a socket.
  template <class AnyCore>
  void deliver(AnyCore& to, const Route& route, Message&& message) {
    Sender from = sender;
    from.route = route;
    if constexpr (requires { to.on_message(from, Received{}, now); }) {
      to.on_message(from, Received{std::move(message), HeaderFault::kNone}, now);
    } else {
      to.on_message(from, std::move(message), now);
    }
  }

  std::map<Route, Peer*> peers_;
};

// ---- The side of a worker ----

// Records the actions of an Exchange as lines: "send push seq 3 [0,2) 1 2", "reconnect", "report ps:0 ...", "values 0
// [0,2) 1 2".
class ExchangeRecorder : public ExchangeActions {
 public:
  void send(const Header& header, std::span<const std::byte> payload, Lifetime lifetime) override {
    sent.push_back(header);
    lifetimes.push_back(lifetime);
    std::string line = fmt::format("send {} seq {}", name_of(header.type), header.sequence);
    if (is_number(header.dtype)) {
      line += fmt::format(" {}{}", note_of(header.dtype), text_of(header.range(), floats_of(header.dtype, payload)));
    }
    lines.push_back(line);
  }
  void reconnect() override { lines.push_back("reconnect"); }
  void report(const std::string& line) override { lines.push_back("report " + line); }
  void notice(const std::string& line) override { lines.push_back("notice " + line); }
  // The destinations of the exchange's values, by slot.
  std::vector<ParameterSink*> sinks() { return {&slots_[0], &slots_[1], &slots_[2]}; }

  // The lines since the last call.
  Lines take() { return std::exchange(lines, {}); }

  Lines lines;
  std::vector<Header> sent;         // all headers since the beginning
  std::vector<Lifetime> lifetimes;  // of their payloads

 private:
  struct Slot : ParameterSink {
    Slot(ExchangeRecorder& recorder, int number) : recorder(recorder), number(number) {}
    void load(Range range, std::span<const float> values) override {
      recorder.lines.push_back(fmt::format("values {} {}", number, text_of(range, values)));
    }
    ExchangeRecorder& recorder;
    int number;
  };
  std::array<Slot, 3> slots_{Slot{*this, 0}, Slot{*this, 1}, Slot{*this, 2}};
};

}  // namespace distmnist::trace
