#include "lib/ps/parameter_server.h"

#include <chrono>
#include <thread>
#include <utility>

#include "lib/base/join.h"
#include "lib/base/log.h"
#include "lib/base/thread_pool.h"
#include "lib/cluster/address.h"
#include "lib/ps/exchange.h"

namespace distmnist {
namespace {

constexpr int kTickMs = 100;
constexpr int kNameMs = 200;  // between two look-ups of a name

class Shell : public PsActions {
 public:
  Shell(WireContext& context, const std::vector<std::string>& endpoints) : socket(context, endpoints) {}
  void send(const Route& to, Message&& message) override { socket.send(to, std::move(message)); }
  void keep(const Route&) override {}
  void cut(const Route&) override {}
  void log(LogLevel level, const std::string& line) override { log_message(level, line); }

  ServerSocket socket;
};

// The numeric address of a name, which may be known a while after the host has started.
std::string wait_for_name(const TaskId& task, const HostPort& address, const ParameterServerConfig& config) {
  const TimeMs began = monotonic_ms();
  TimeMs report = began + kFirstReportMs;
  while (true) {
    const Resolution resolved = resolve_ip(address);
    if (resolved) return resolved.ip;
    const TimeMs now = monotonic_ms(), waited = now - began;
    if (waited >= config.limits.recovery_wait_ms) {
      fail(ExitCode::kLostPeer, "{}: {}; gave up after {} s", task.to_string(), resolved.error, waited / 1000);
    }
    if (now >= report) {
      report = now + kWaitReportMs;
      log_warning("{}; trying for another {} s", resolved.error, (config.limits.recovery_wait_ms - waited) / 1000);
    }
    if (config.stop_signal && config.stop_signal()) {
      fail(ExitCode::kInterrupted, "stopped by a signal while waiting for the name {}", address.host);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(kNameMs));
  }
}

void warn_of_loopback(const HostPort& address, const std::string& ip) {
  const bool says_loopback = address.host == "localhost" || address.host == ip;
  if (!is_loopback_address(ip) || says_loopback) return;
  log_warning("{} means {} on this host: tasks on other hosts cannot reach it; give the address of an interface ({})",
              address.host, ip, join(local_addresses(), ", "));
}

// The endpoints of a ps: TCP first and always, beside it the same-host one, named after where workers look for the ps.
std::vector<std::string> endpoints_of(const ParameterServerConfig& config) {
  if (!config.endpoint.empty()) return {config.endpoint};
  const TaskId task{"ps", static_cast<int>(config.identity.index)};
  const HostPort& own = config.bind ? *config.bind : config.address;
  const std::string ip = wait_for_name(task, own, config);
  if (!config.bind) {
    require_local_address(task, own, ip);
    warn_of_loopback(own, ip);
    return {tcp_endpoint(ip, own.port), same_host_endpoint(ip, own.port)};
  }
  if (!can_listen_at(ip)) {
    fail(ExitCode::kUsage, "--bind={}: this host has only the addresses {}; 0.0.0.0 stands for all of them", own.host,
         join(local_addresses(), ", "));
  }
  std::vector<std::string> endpoints = {tcp_endpoint(ip, own.port)};
  const Resolution listed = resolve_ip(config.address);  // A name for others need not be known here.
  if (listed) endpoints.push_back(same_host_endpoint(listed.ip, config.address.port));
  return endpoints;
}

}  // namespace

ExitCode run_parameter_server(const ParameterServerConfig& config) {
  std::optional<WireContext> own_context;
  Shell shell(config.context != nullptr ? *config.context : own_context.emplace(), endpoints_of(config));
  ThreadPool pool(config.threads);
  PsCore core(config.identity, config.limits, shell, monotonic_ms(), &pool);
  log_info("listening on {}", join(shell.socket.bound(), " and "));

  TimeMs last_tick_ms = monotonic_ms();
  Sender from;
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
  if (end.code == ExitCode::kLostPeer || end.code == ExitCode::kDiverged) {
    fail(end.code, "ps:{}: {}", config.identity.index, end.reason);
  }
  log_info("{}; exit {}", end.reason, static_cast<int>(end.code));
  return end.code;
}

}  // namespace distmnist
