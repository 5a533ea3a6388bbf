// Exchange: the rules of a worker's conversation with one ps: the handshake, one request at a time, what is resent and
// when, and how long silence is tolerated. A pure state machine: messages and the time go in, ExchangeActions come out.
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
#include "lib/base/wait_limits.h"
#include "lib/ps/records/control.h"
#include "lib/ps/records/report_times.h"
#include "lib/ps/store/chunk_table.h"
#include "lib/wire/message.h"

namespace distmnist {

// A hello that is not answered is sent again after this time, then after twice as long, and so on: a ps that was just
// started may have missed it.
inline constexpr TimeMs kHelloAgainMs = 1'000;
inline constexpr TimeMs kNoWelcomeMs = 3'000;  // silence after a hello before the peer is reported
inline constexpr TimeMs kLeastNoticeMs = 500;  // between two lines about why an answer is slow

// How long the bytes of a payload stay valid.
enum class Lifetime {
  kUntilAnswered,  // until the request that they belong to is answered
  kCall,
};

class ExchangeActions {
 public:
  virtual ~ExchangeActions() = default;
  virtual void send(const Header& header, std::span<const std::byte> payload, Lifetime lifetime) = 0;
  // Drops the connection and tries to make it again. on_connected or on_unreachable follows.
  virtual void reconnect() = 0;
  virtual void report(const std::string& line) = 0;  // a problem
  virtual void notice(const std::string& line) = 0;  // why an answer is slow, in the words of the ps
};

// One message of a request. `bytes` stay valid until the request is answered.
struct RequestPart {
  MessageType type = MessageType::kPull;
  WireDtype dtype = WireDtype::kNone;
  std::uint8_t slot = 0;
  Range range;
  std::span<const std::byte> bytes;
  std::int64_t commit = 0;  // kCommit: the updates that every other ps is known to have applied
  std::uint16_t flags = 0;
};

// What all parts of a request have in common, and what completes it.
struct RequestInfo {
  // kParameters and kSnapshotData arrive chunk by chunk. kParameters completes the request when all chunks have
  // arrived; for kSnapshotData, kSnapshotEnd does. kToken completes it together with its parameters.
  MessageType answer = MessageType::kParameters;
  std::uint64_t sequence = 0;
  std::uint64_t run = 0;              // the run of the model that is meant
  std::int64_t step = 0;              // of the parameters that a gradient was computed from
  std::uint32_t samples = 0;          // in its batch
  WireDtype wants = WireDtype::kF32;  // the number type for parameters
};

struct ExchangeConfig {
  std::string ps_name;  // "ps:0 localhost:2222", for messages
  std::uint32_t worker = 0;
  std::uint64_t incarnation = 0;
  HelloRecord hello;
  std::vector<Range> pieces;  // that this ps holds
  WaitLimits limits = {};
};

class Exchange {
 public:
  Exchange(ExchangeConfig config, ExchangeActions& actions);

  // ---- from the worker ----
  // Starts to connect and to shake hands. The exchange is open when the ps has a model; for the chief, when the ps has
  // answered.
  void open(std::uint64_t sequence, TimeMs now);
  bool opened() const { return state_ == State::kOpen; }
  // Whether the next hello offers to be the chief.
  void offer_to_lead(bool offers);
  // Begins a request and replaces one that is not answered yet. Its parts follow and are sent as they are added. A peer
  // that answers before all parts are there is not one of our ps tasks: the rest is not sent.
  void begin(const RequestInfo& info, TimeMs now);
  void add(const RequestPart& part);
  // Where the values of answers go from now on: [0] the parameters, then the slots of a snapshot. Values without a sink
  // are only counted. The sinks must outlive the exchange or stay valid until the next call.
  void deliver_to(std::vector<ParameterSink*> sinks) { sinks_ = std::move(sinks); }
  // All parts have been added: the exchange now waits for the answer. pause: the last ones follow after the answers of
  // other ps tasks.
  void end(TimeMs now);
  void pause(TimeMs now);
  bool answered() const { return !request_; }
  // Whether at least one chunk of the answer has arrived.
  bool is_answering() const { return !request_ || request_->num_present > 0; }
  // Says that this process leaves. Not answered. (If kDoneAck has ended the conversation, nothing is sent.)
  void leave();
  // The same, and says that the run has failed. The ps ends the run for all workers.
  void leave(const RefuseRecord& why);
  const ChunkTable& chunks() const { return chunks_; }

  // ---- from the shell ----
  bool wants_connection() const { return state_ == State::kConnecting; }
  void on_connected(TimeMs now);
  void on_unreachable(const std::string& why, TimeMs now);
  // The shell has found the connection dead. It is made again at once, even if no answer is due: this worker may be the
  // only one that can notice a restart of the ps, while it waits for another ps.
  void on_broken(const std::string& why, TimeMs now);
  // Keys prevent a connection.
  void on_keys_differ(const std::string& why);
  // Whether there is a connection, as far as the exchange knows.
  bool connected() const { return state_ != State::kClosed && state_ != State::kConnecting; }
  // Whether a message from the ps is due.
  bool waiting() const { return state_ == State::kGreeting || state_ == State::kAwaitingModel || request_.has_value(); }
  // Bytes of a request or of its answer have arrived: a slow connection is not a silent one.
  void on_progress(TimeMs now);
  void on_message(Received&& received, TimeMs now);
  void on_tick(TimeMs now);

  // ---- what is known ----
  struct Failure {
    ExitCode code = ExitCode::kOk;
    std::string reason;
    std::string words_of_ps = {};  // if the ps has refused: its reason alone
  };
  const std::optional<Failure>& failure() const { return failure_; }
  // Why the session is over and must be opened again: the ps has lost or replaced its model, or does not answer. Empty
  // if it goes on.
  const std::string& stale() const { return stale_; }
  const WelcomeRecord& welcome() const { return welcome_; }
  std::uint64_t run() const { return run_; }
  std::uint64_t lease() const { return lease_; }
  std::uint64_t ps_epoch() const { return epoch_; }
  std::int64_t step() const { return step_; }      // global_step in the last answer
  std::int64_t commit() const { return commit_; }  // updates this shard had applied by then
  const SnapshotRecord& snapshot() const { return snapshot_; }
  const UpdatesRecord& point() const { return point_; }  // in the last kSnapshotPoint
  const TokenRecord& token() const { return token_; }
  // Whether this worker is the chief, as far as this ps knows; which one is, kNoWorker: none or unknown; and whether
  // there has been none for a while.
  bool leads() const { return welcome_.chief == config_.worker; }
  std::uint32_t chief() const { return welcome_.chief; }
  bool lacks_chief() const { return lacks_chief_; }
  // Whether the last kStaged says that the push must not be applied.
  bool staged_is_bad() const { return staged_is_bad_; }

 private:
  enum class State { kClosed, kConnecting, kGreeting, kAwaitingModel, kOpen };
  struct Request {
    RequestInfo info;
    TimeMs since_ms = 0;     // since when there is no progress
    TimeMs sent_ms = 0;      // when it was last sent, or made progress
    bool sent_here = false;  // on this connection
    bool complete = false;   // all parts have been added
    bool asked_again = false;
    std::vector<RequestPart> parts;
    // State of the answer: its commit, whether its token has arrived, and which of its values have, by slot * chunks +
    // chunk.
    std::int64_t commit = -1;
    bool has_token = false;
    std::vector<bool> present;
    std::size_t num_present = 0;
  };

  void greet(TimeMs now);
  void on_welcome(const Message& message, TimeMs now);
  void on_values(const Message& message);
  void deliver(const Message& message, ParameterSink& sink);
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
  void watch_greeting(TimeMs now);
  // A request that the ps does not answer, although it is alive.
  void watch_request(TimeMs now);
  void watch_deadline(TimeMs now);
  Header header_for(MessageType type) const;
  void finish_request();
  void note_life(TimeMs now);
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
  UpdatesRecord point_;
  TokenRecord token_;
  bool lacks_chief_ = false;
  bool staged_is_bad_ = false;
  std::optional<Request> request_;
  std::vector<ParameterSink*> sinks_;  // by slot
  std::vector<float> floats_;          // the last chunk that arrived in a different number type
  std::optional<Failure> failure_;
  std::string stale_;

  TimeMs last_heard_ms_ = 0;
  TimeMs last_ping_ms_ = 0;
  TimeMs last_hello_ms_ = 0;
  TimeMs hello_again_ms_ = kHelloAgainMs;
  TimeMs last_report_ms_ = 0;
  TimeMs last_notice_ms_ = -kLeastNoticeMs;
  TimeMs model_wait_since_ms_ = 0;
  std::optional<TimeMs> unanswered_since_ms_;  // of the first of the requests in a row that got no answer
  std::optional<TimeMs> trouble_since_ms_;
  std::string reported_;  // the last problem that was reported at once
  std::string trouble_;   // "refused the connection", "silent for 15.0 s"; empty: not known yet
};

}  // namespace distmnist
