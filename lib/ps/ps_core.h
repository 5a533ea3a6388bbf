// PsCore: all the rules of one parameter server: its containers, and when the process is over. Pure, like Container.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/ps/container.h"
#include "lib/ps/ps_actions.h"

namespace distmnist {

inline constexpr TimeMs kReportEveryMs = 10'000;           // a line about whom a wait is for
inline constexpr TimeMs kFirstWorkerMs = 60 * 60 * 1'000;  // a ps that nobody ever greets gives up after an hour
inline constexpr TimeMs kSignalGraceMs = 10'000;           // after a signal, time the workers have to save and leave
inline constexpr TimeMs kSignalSilenceMs = 5'000;          // silence that counts as gone then: more than one heartbeat

class PsCore {
 public:
  PsCore(const PsIdentity& identity, const PsLimits& limits, PsActions& actions, TimeMs now);

  void on_message(const Route& route, Received&& received, TimeMs now);
  void on_tick(TimeMs now);
  // SIGTERM or SIGINT: serve until the workers have left, then end with `code`.
  void on_signal(ExitCode code, TimeMs now);

  // How the process ends, once it does.
  struct End {
    ExitCode code = ExitCode::kOk;
    std::string reason;  // for the log
  };
  const std::optional<End>& end() const { return end_; }

 private:
  std::string waiting_for() const;
  void refuse(const Route& route, const Header& request, ExitCode code, const std::string& reason);

  PsIdentity identity_;
  PsLimits limits_;
  PsActions& actions_;
  // Container by container_id; this ps serves the first one it is asked for.
  std::map<std::uint64_t, std::unique_ptr<Container>> containers_;
  TimeMs started_ms_;
  TimeMs last_report_ms_;
  std::optional<std::pair<ExitCode, TimeMs>> signal_;
  std::optional<End> end_;
  std::uint64_t dropped_ = 0;  // messages that were not ours
};

}  // namespace distmnist
