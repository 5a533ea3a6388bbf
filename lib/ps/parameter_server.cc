#include "lib/ps/parameter_server.h"

#include <utility>

#include "lib/base/join.h"
#include "lib/base/log.h"
#include "lib/base/thread_pool.h"
#include "lib/cluster/address.h"

namespace distmnist {
namespace {

constexpr int kTickMs = 100;

class Shell : public PsActions {
 public:
  Shell(WireContext& context, const std::vector<std::string>& endpoints) : socket(context, endpoints) {}
  void send(const Route& to, Message&& message) override { socket.send(to, std::move(message)); }
  void log(LogLevel level, const std::string& line) override { log_message(level, line); }

  ServerSocket socket;
};

// The endpoints of a ps: TCP first and always, the same-host one beside it.
std::vector<std::string> endpoints_of(const ParameterServerConfig& config) {
  if (!config.endpoint.empty()) return {config.endpoint};
  const TaskId task{"ps", static_cast<int>(config.identity.index)};
  const Resolution resolved = resolve_ip(config.address);
  if (!resolved) throw Error(ExitCode::kUsage, fmt::format("{}: {}", task.to_string(), resolved.error));
  require_local_address(task, config.address, resolved.ip);
  const bool says_loopback = config.address.host == "localhost" || config.address.host == resolved.ip;
  if (is_loopback_address(resolved.ip) && !says_loopback) {
    log_warning("{} means {} on this host: tasks on other hosts cannot reach it; give the address of an interface ({})",
                config.address.host, resolved.ip, join(local_addresses(), ", "));
  }
  return {tcp_endpoint(resolved.ip, config.address.port), same_host_endpoint(resolved.ip, config.address.port)};
}

}  // namespace

ExitCode run_parameter_server(const ParameterServerConfig& config) {
  std::optional<WireContext> own_context;
  Shell shell(config.context != nullptr ? *config.context : own_context.emplace(), endpoints_of(config));
  ThreadPool pool(config.threads);
  PsCore core(config.identity, config.limits, shell, monotonic_ms(), &pool);
  log_info("listening on {}", join(shell.socket.bound(), " and "));

  TimeMs last_tick_ms = monotonic_ms();
  Route from;
  while (!core.end()) {
    if (shell.socket.poll(kTickMs)) {
      while (!core.end()) {
        auto received = shell.socket.receive(from);
        if (!received) break;
        core.on_message(from, std::move(*received), monotonic_ms());
        if (monotonic_ms() - last_tick_ms >= kTickMs) break;
      }
    }
    if (const auto code = config.stop_signal ? config.stop_signal() : std::nullopt)
      core.on_signal(*code, monotonic_ms());
    if (monotonic_ms() - last_tick_ms >= kTickMs) {
      last_tick_ms = monotonic_ms();
      core.on_tick(last_tick_ms);
    }
  }
  const PsCore::End& end = *core.end();
  if (end.code == ExitCode::kLostPeer) fail(end.code, "ps:{}: {}", config.identity.index, end.reason);
  log_info("{}; exit {}", end.reason, static_cast<int>(end.code));
  return end.code;
}

}  // namespace distmnist
