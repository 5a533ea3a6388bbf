#include "lib/ps/ps_core.h"

#include <limits>
#include <utility>

namespace distmnist {

PsCore::PsCore(const PsIdentity& identity, const PsLimits& limits, PsActions& actions, TimeMs now)
    : identity_(identity), limits_(limits), actions_(actions), started_ms_(now), last_report_ms_(now) {}

void PsCore::on_message(const Route& route, Received&& received, TimeMs now) {
  Header& header = received.message.header;
  if (received.fault == HeaderFault::kVersion) {
    return refuse(
        route, header, ExitCode::kVersion,
        fmt::format("ps:{} speaks protocol version {} and was addressed in version {}; use one version of distmnist "
                    "everywhere",
                    identity_.index, kProtocolVersion, header.version));
  }
  if (received.fault != HeaderFault::kNone) {
    // A stranger or a broken message: said once, counted, and nothing more.
    if (dropped_++ == 0)
      actions_.log(LogLevel::kWarning, fmt::format("dropped a message: {}", to_string(received.fault)));
    return;
  }
  auto at = containers_.find(header.container);
  if (at == containers_.end()) {
    if (!containers_.empty()) {
      return refuse(route, header, ExitCode::kVersion, fmt::format("ps:{} serves another container", identity_.index));
    }
    // From a session with the process that was here before: its worker has to greet anew.
    if (header.type != MessageType::kHello) {
      return actions_.send(route, Message{answer_to(header, MessageType::kStale, identity_.epoch), {}});
    }
    // Only a greeting that names the container it is for claims this ps.
    const auto hello = decode<HelloRecord>(received.message.payload.bytes());
    if (!hello || container_id(hello->container) != header.container) return;
    at = containers_.emplace(header.container, std::make_unique<Container>(identity_, limits_, actions_)).first;
  }
  at->second->on_message(route, std::move(received.message), now);
  if (at->second->ended()) end_ = End{ExitCode::kOk, "all workers are done"};
}

void PsCore::on_tick(TimeMs now) {
  // Once a signal has come a worker that died is not waited for until its lease runs out.
  const TimeMs heard_since = signal_ ? now - kSignalSilenceMs : std::numeric_limits<TimeMs>::min();
  int live = 0;
  TimeMs last_life = -1;
  for (const auto& [id, container] : containers_) {
    container->on_tick(now);
    live += container->members().num_live(heard_since);
    last_life = std::max(last_life, container->members().last_life_ms().value_or(-1));
  }
  if (end_) return;
  if (signal_ && (live == 0 || now - signal_->second >= kSignalGraceMs)) {
    end_ = End{signal_->first, live == 0 ? "stopped by a signal" : "stopped by a signal; workers were still there"};
    return;
  }
  if (live > 0) {
    last_report_ms_ = now;
    return;
  }
  const bool never = last_life < 0;
  const TimeMs since = never ? started_ms_ : last_life;
  const TimeMs limit = never ? kFirstWorkerMs : limits_.recovery_wait_ms;
  if (now - since >= limit) {
    end_ = End{ExitCode::kLostPeer,
               fmt::format("no sign of {} for {:.0f} s", waiting_for(), static_cast<double>(now - since) / 1000)};
  } else if (now - last_report_ms_ >= kReportEveryMs) {
    last_report_ms_ = now;
    actions_.log(LogLevel::kInfo, fmt::format("waiting for {}, for another {:.0f} s at most", waiting_for(),
                                              static_cast<double>(limit - (now - since)) / 1000));
  }
}

void PsCore::on_signal(ExitCode code, TimeMs now) {
  if (!signal_) signal_ = {code, now};
}

std::string PsCore::waiting_for() const {
  std::string out;
  if (containers_.empty())
    return identity_.num_workers == 1 ? "worker:0" : fmt::format("worker:0..{}", identity_.num_workers - 1);
  for (const std::uint32_t worker : containers_.begin()->second->members().missing()) {
    out += fmt::format("{}worker:{}", out.empty() ? "" : ", ", worker);
  }
  return out;
}

void PsCore::refuse(const Route& route, const Header& request, ExitCode code, const std::string& reason) {
  Header header = answer_to(request, MessageType::kRefuse, identity_.epoch);
  header.dtype = WireDtype::kRecord;
  actions_.log(LogLevel::kWarning, "refused a peer: " + reason);
  actions_.send(route, Message{header, encode(RefuseRecord{static_cast<std::int32_t>(code), reason})});
}

}  // namespace distmnist
