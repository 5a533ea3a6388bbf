// Exchange: the rules of a worker's conversation with one ps: greeting, one request at a time, what is sent again and
// when, how long silence is borne. A pure state machine: messages and the time go in, ExchangeActions come out.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/parameter_sink.h"
#include "lib/base/time_ms.h"
#include "lib/ps/records/control.h"
#include "lib/ps/store/chunk_table.h"
#include "lib/wire/message.h"

namespace distmnist {

inline constexpr TimeMs kPingAfterMs = 5'000;    // silence after which a waiting worker pings
inline constexpr TimeMs kSilenceMs = 15'000;     // silence after which a connection is given up and made anew
inline constexpr TimeMs kNoWelcomeMs = 3'000;    // silence after a hello before the peer is reported
inline constexpr TimeMs kResendMs = 10'000;      // a request without an answer from a living ps is sent again
inline constexpr TimeMs kWaitReportMs = 10'000;  // a line about whom a wait is for
inline constexpr TimeMs kLeastNoticeMs = 500;    // between two lines about why an answer takes long
inline constexpr TimeMs kFirstReportMs = 1'000;  // at start a ps may come up a moment later than its workers

// How long the bytes of a payload are there.
enum class Lifetime {
  kUntilAnswered,  // as long as the request that they belong to waits for its answer
  kCall,
};

class ExchangeActions {
 public:
  virtual ~ExchangeActions() = default;
  virtual void send(const Header& header, std::span<const std::byte> payload, Lifetime lifetime) = 0;
  // Drop the connection and try to make it again; then on_connected or on_unreachable.
  virtual void reconnect() = 0;
  virtual void report(const std::string& line) = 0;  // trouble
  virtual void notice(const std::string& line) = 0;  // why an answer takes long, in the words of the ps
};

// One message of a request. `bytes` stay valid until the request is answered.
struct RequestPart {
  MessageType type = MessageType::kPull;
  WireDtype dtype = WireDtype::kNone;
  std::uint8_t slot = 0;
  Range range;
  std::span<const std::byte> bytes;
  std::int64_t commit = 0;  // kCommit: the updates that every other ps is known to have made
  std::uint16_t flags = 0;
};

// What all parts of a request have in common, and what ends it.
struct RequestInfo {
  // kParameters and kSnapshotData come chunk by chunk and end the request (kSnapshotData: kSnapshotEnd does) when all
  // are there; kToken ends it together with its parameters.
  MessageType answer = MessageType::kParameters;
  std::uint64_t sequence = 0;
  std::uint64_t run = 0;              // of the model meant
  std::int64_t step = 0;              // of the parameters a gradient is computed from
  std::uint32_t samples = 0;          // of its batch
  WireDtype wants = WireDtype::kF32;  // the numbers that parameters come in
};

struct ExchangeConfig {
  std::string ps_name;  // "ps:0 localhost:2222", for messages
  std::uint32_t worker = 0;
  std::uint64_t incarnation = 0;
  HelloRecord hello;
  std::vector<Range> pieces;  // that this ps holds
  TimeMs recovery_wait_ms = 120'000;
};

class Exchange {
 public:
  Exchange(ExchangeConfig config, ExchangeActions& actions);

  // ---- from the worker ----
  // Starts to connect and greet. Opened when the ps has a model, for the chief when it has answered.
  void open(std::uint64_t sequence, TimeMs now);
  bool opened() const { return state_ == State::kOpen; }
  // Begins a request, in place of one that has not been answered; its parts follow, and are sent as they come. Whoever
  // answers before all are there is no ps of ours: the rest is not sent.
  void begin(const RequestInfo& info, TimeMs now);
  void add(const RequestPart& part);
  // Where values of answers go from now on: [0] parameters, then the slots of a snapshot. What has no sink is only
  // counted. The sinks outlive it, or the next call.
  void deliver_to(std::vector<ParameterSink*> sinks) { sinks_ = std::move(sinks); }
  // All parts are there: from now on the answer is awaited.
  void end(TimeMs now);
  bool answered() const { return !request_; }
  // Says that this process goes. Not answered. (Where kDoneAck has ended the conversation, nothing is left to say.)
  void leave();
  // The same, and that the run has failed. The ps ends it for everybody.
  void leave(const RefuseRecord& why);
  const ChunkTable& chunks() const { return chunks_; }

  // ---- from the shell ----
  bool wants_connection() const { return state_ == State::kConnecting; }
  void on_connected(TimeMs now);
  void on_unreachable(const std::string& why, TimeMs now);
  // The shell has found the connection dead. It is made again at once, whether an answer is due or not: that the ps has
  // been started again may be for this worker alone to tell, while it waits for another ps.
  void on_broken(const std::string& why, TimeMs now);
  // No connection can be made because of keys.
  void on_keys_differ(const std::string& why);
  // Whether there is a connection, as far as it knows.
  bool connected() const { return state_ != State::kClosed && state_ != State::kConnecting; }
  // Whether a message of the ps is due.
  bool waiting() const { return state_ == State::kGreeting || state_ == State::kAwaitingModel || request_.has_value(); }
  // Bytes of a request or of its answer have come through: a slow connection is not a silent one.
  void on_progress(TimeMs now);
  void on_message(Received&& received, TimeMs now);
  void on_tick(TimeMs now);

  // ---- what is known ----
  struct Failure {
    ExitCode code = ExitCode::kOk;
    std::string reason;
    std::string words_of_ps = {};  // where the ps has refused: its reason alone
  };
  const std::optional<Failure>& failure() const { return failure_; }
  // The ps has lost or replaced the model of the session: open() again.
  bool stale() const { return stale_; }
  const WelcomeRecord& welcome() const { return welcome_; }
  std::uint64_t run() const { return run_; }
  std::uint64_t lease() const { return lease_; }
  std::uint64_t ps_epoch() const { return epoch_; }
  std::int64_t step() const { return step_; }      // global_step as of the last answer
  std::int64_t commit() const { return commit_; }  // updates this shard had made then
  const SnapshotRecord& snapshot() const { return snapshot_; }
  const TokenRecord& token() const { return token_; }
  // Whether the last kStaged says that the push may not be applied.
  bool staged_is_bad() const { return staged_is_bad_; }

 private:
  enum class State { kClosed, kConnecting, kGreeting, kAwaitingModel, kOpen };
  struct Request {
    RequestInfo info;
    TimeMs sent_ms = 0;
    bool sent_here = false;  // over this connection
    std::vector<RequestPart> parts;
    // Of the answer: its commit, whether its token has come, and which of its values, by slot * chunks + chunk.
    std::int64_t commit = -1;
    bool has_token = false;
    std::vector<bool> present;
    std::size_t num_present = 0;
  };

  void greet(TimeMs now);
  void on_welcome(const Message& message, TimeMs now);
  void on_values(const Message& message);
  // A chunk's numbers, good until the next one comes.
  std::span<const float> floats_of(const Message& message);
  void on_token(const Message& message);
  void on_notice(const Message& message, TimeMs now);
  bool is_newest(const Header& header);
  bool counts(const Header& header, std::size_t chunk);
  void finish_if_whole(const Header& header);
  void on_record(const Message& message);
  void send_part(const RequestPart& part, Lifetime lifetime);
  void send_request(TimeMs now);
  void give_up_connection(const std::string& why, TimeMs now);
  void watch_silence(TimeMs now);
  void watch_deadline(TimeMs now);
  Header header_for(MessageType type) const;
  void fail_with(ExitCode code, const std::string& reason) {
    if (!failure_) failure_ = Failure{code, reason, {}};
  }

  ExchangeConfig config_;
  ExchangeActions& actions_;
  ChunkTable chunks_;
  Frame hello_;
  State state_ = State::kClosed;
  std::uint64_t hello_sequence_ = 0;
  std::uint64_t run_ = 0, lease_ = 0, epoch_ = 0;
  std::int64_t step_ = 0;
  std::int64_t commit_ = 0;
  WelcomeRecord welcome_;
  SnapshotRecord snapshot_;
  TokenRecord token_;
  bool staged_is_bad_ = false;
  std::optional<Request> request_;
  std::vector<ParameterSink*> sinks_;  // by slot
  std::vector<float> floats_;          // of the last chunk that came in as other numbers
  std::optional<Failure> failure_;
  bool stale_ = false;

  TimeMs last_heard_ms_ = 0;
  TimeMs last_ping_ms_ = 0;
  TimeMs last_report_ms_ = 0;
  TimeMs last_notice_ms_ = -kLeastNoticeMs;
  TimeMs model_wait_since_ms_ = 0;
  std::optional<TimeMs> trouble_since_ms_;
  std::string reported_;  // the last trouble that was said at once
  std::string trouble_;   // "refused the connection", "silent for 15.0 s"
};

}  // namespace distmnist
