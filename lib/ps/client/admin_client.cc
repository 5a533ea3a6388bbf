#include "lib/ps/client/admin_client.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/cluster/address.h"
#include "lib/ps/records/control.h"
#include "lib/ps/records/report_times.h"
#include "lib/wire/transport.h"

namespace distmnist {
namespace {

constexpr int kAdminPollMs = 20;
constexpr TimeMs kListenCheckMs = 200;  // between checks that the ps listens

struct Question {
  Message message;
  MessageType answer;  // the type that an answer has
};

// One question to one ps.
class Call {
 public:
  Call(WireContext& context, const AdminConfig& config, std::size_t index, Question question)
      : context_(context),
        config_(config),
        address_(config.ps[index]),
        keys_(config.keys.empty() ? std::nullopt : std::optional(config.keys[index])),
        name_(fmt::format("ps:{} {}", index, address_.to_string())),
        question_(std::move(question)),
        began_ms_(monotonic_ms()),
        looked_ms_(began_ms_ - kListenCheckMs),
        report_ms_(began_ms_ + kFirstReportMs) {}

  bool over() const { return over_; }
  AdminOutcome take_outcome() { return std::move(outcome_); }
  ClientSocket* socket() { return socket_ ? &*socket_ : nullptr; }

  void tend(TimeMs now) {
    receive();
    if (over_) return;
    // A lost connection and a lost message look the same here. Both are handled in this way.
    if (socket_ && !socket_->broken().empty()) {
      receive();  // What arrived before it broke.
      if (over_) return;
      why_not_ = socket_->broken();
      if (socket_->key_trouble() != KeyTrouble::kNone) {
        const bool none_there = socket_->key_trouble() == KeyTrouble::kNoneThere;
        return finish(ExitCode::kSecurity,
                      why_not_ + (none_there ? "; leave --keys out"
                                             : "; give --keys with the folder of the administrator's key that "
                                               "distmnist keygen made with the keys of this ps"));
      }
      hang_up();
    } else if (socket_ && now - asked_ms_ >= kAskAgainMs) {
      why_not_ = "does not answer";
      hang_up();
    }
    if (!socket_ && now - looked_ms_ >= kListenCheckMs) {
      looked_ms_ = now;
      ask(now);
    }
    const TimeMs waited_ms = now - began_ms_;
    if (waited_ms >= config_.wait_ms) {
      hang_up();
      return finish(ExitCode::kLostPeer, fmt::format("{}; gave up after {:.0f} s", why_not_, seconds(waited_ms)));
    }
    if (now < report_ms_) return;
    report_ms_ = now + kReportEveryMs;
    log_warning("{} {}; trying for another {:.0f} s", name_, why_not_, seconds(config_.wait_ms - waited_ms));
  }

 private:
  static double seconds(TimeMs ms) { return static_cast<double>(ms) / 1000; }

  void ask(TimeMs now) {
    const Listener listener = find_ps(address_);
    if (listener.endpoint.empty()) {
      why_not_ = listener.why_not;
      return;
    }
    socket_.emplace(context_, listener.endpoint, keys_);
    asked_ms_ = now;
    // A copy: the socket may still hold it long after the call is over.
    const Message& message = question_.message;
    Frame record = Frame::allocate(message.payload.size());
    std::memcpy(record.bytes().data(), message.payload.bytes().data(), record.size());
    socket_->send(Message{message.header, std::move(record)});
  }

  void hang_up() {
    if (socket_) socket_->discard();
    socket_.reset();
  }

  void receive() {
    while (socket_ && !over_) {
      auto received = socket_->receive();
      if (!received) return;
      on_message(std::move(*received));
    }
  }

  void on_message(Received&& received) {
    const Header& header = received.message.header;
    if (received.fault == HeaderFault::kVersion) {
      return finish(
          ExitCode::kVersion,
          fmt::format(
              "speaks protocol version {}, but this program speaks {}; use the same version of distmnist everywhere",
              header.version, kProtocolVersion));
    }
    const Header& asked = question_.message.header;
    const bool ours = received.fault == HeaderFault::kNone && header.incarnation == asked.incarnation &&
                      header.sequence == asked.sequence;
    if (!ours) return;
    if (header.type == MessageType::kRefuse) {
      const auto refusal = decode<RefuseRecord>(received.message.payload.bytes());
      const int code = refusal ? std::clamp(refusal->exit_code, 1, 255) : 1;
      return finish(static_cast<ExitCode>(code), refusal ? refusal->reason : "refused without giving a reason");
    }
    if (header.type != question_.answer) return;
    outcome_.answer = std::move(received.message.payload);
    over_ = true;
  }

  void finish(ExitCode code, std::string error) {
    outcome_.code = code;
    outcome_.error = std::move(error);
    over_ = true;
  }

  WireContext& context_;
  const AdminConfig& config_;
  HostPort address_;
  std::optional<ClientKeys> keys_;
  std::string name_;  // "ps:0 localhost:2222"
  Question question_;
  TimeMs began_ms_;
  TimeMs looked_ms_;
  TimeMs report_ms_;
  TimeMs asked_ms_ = 0;
  std::string why_not_ = "does not answer";
  std::optional<ClientSocket> socket_;
  AdminOutcome outcome_;
  bool over_ = false;
};

}  // namespace

std::vector<AdminOutcome> ask_ps_tasks(const AdminConfig& config, MessageType type, MessageType answer_type,
                                       const std::vector<Frame>& records) {
  WireContext context;
  std::vector<Call> calls;
  calls.reserve(records.size());
  for (std::size_t k = 0; k < records.size(); ++k) {
    Header header;
    header.type = type;
    header.dtype = WireDtype::kRecord;
    header.incarnation = config.incarnation;
    header.sequence = 1;
    calls.emplace_back(context, config, k, Question{{header, Frame::borrow(records[k].bytes())}, answer_type});
  }
  while (true) {
    std::vector<ClientSocket*> sockets;
    bool over = true;
    for (Call& call : calls) {
      if (!call.over()) call.tend(monotonic_ms());
      over = over && call.over();
      if (!call.over()) sockets.push_back(call.socket());
    }
    if (over) break;
    if (config.stop_requested && config.stop_requested()) {
      throw Error(ExitCode::kInterrupted, "stopped by a signal while waiting for the ps tasks");
    }
    ClientSocket::poll(sockets, kAdminPollMs);
  }
  std::vector<AdminOutcome> outcomes;
  for (Call& call : calls) outcomes.push_back(call.take_outcome());
  return outcomes;
}

}  // namespace distmnist
