#include "lib/ps/server/parameter_server.h"

#include <chrono>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "lib/base/clock.h"
#include "lib/base/join.h"
#include "lib/base/log.h"
#include "lib/base/rare_log.h"
#include "lib/base/side_thread.h"
#include "lib/base/thread_pool.h"
#include "lib/cluster/address.h"
#include "lib/ps/records/report_times.h"
#include "lib/wire/network_server.h"
#include "lib/wire/transport.h"

namespace distmnist {
namespace {

constexpr int kTickMs = 100;
constexpr int kNameMs = 200;  // between two lookups of a name

class Shell : public PsActions {
 public:
  explicit Shell(ServerSocket& socket) : socket_(socket) {}
  void send(const Route& to, Message&& message) override { socket_.send(to, std::move(message)); }
  void keep(const Route& peer) override { socket_.keep(peer); }
  void cut(const Route& peer) override { socket_.cut(peer); }
  void log(LogLevel level, const std::string& line) override { log_message(level, line); }

 private:
  ServerSocket& socket_;
};

// The numeric address of a name, which may become known a while after the host has started.
std::string wait_for_name(const TaskId& task, const HostPort& address, const ParameterServerConfig& config) {
  const TimeMs began = monotonic_ms(), limit_ms = config.limits.recovery_wait_ms;
  TimeMs report = began + kFirstReportMs;
  std::string error = fmt::format("no name server has answered for host '{}' of {}", address.host, address.to_string());
  std::optional<Eventually<Resolution>> lookup;
  while (true) {
    if (!lookup) lookup.emplace([address] { return resolve_ip(address); });
    if (const auto resolved = lookup->take(kNameMs)) {
      lookup.reset();
      if (*resolved) return resolved->ip;
      error = resolved->error;
      std::this_thread::sleep_for(std::chrono::milliseconds(kNameMs));
    }
    const TimeMs now = monotonic_ms(), waited = now - began;
    if (waited >= limit_ms) {
      fail(ExitCode::kLostPeer, "{}: {}; gave up after {} s", task.to_string(), error, waited / 1000);
    }
    if (now >= report) {
      report = now + kReportEveryMs;
      log_warning("{}; trying for another {} s", error, (limit_ms - waited) / 1000);
    }
    if (config.stop_signal && config.stop_signal()) {
      fail(ExitCode::kInterrupted, "stopped by a signal while trying to resolve host {}", address.host);
    }
  }
}

void warn_of_loopback(const HostPort& address, const std::string& ip) {
  const bool says_loopback = address.host == "localhost" || address.host == ip;
  if (!is_loopback_address(ip) || says_loopback) return;
  log_warning("{} means {} on this host: tasks on other hosts cannot reach it; give the address of an interface ({})",
              address.host, ip, join(local_addresses(), ", "));
}

// --bind names this host, which knows its own names.
std::string ip_to_bind(const HostPort& own) {
  const Resolution resolved = resolve_ip(own);
  if (resolved) return resolved.ip;
  fail(ExitCode::kUsage, "--bind={}: {}; give an address of this host ({}), or 0.0.0.0 for all of them", own.host,
       resolved.error, join(local_addresses(), ", "));
}

// The endpoints of a ps: TCP always and first, then the same-host one, which is named after the address where workers
// look for the ps.
std::vector<std::string> endpoints_of(const ParameterServerConfig& config) {
  const TaskId task{"ps", static_cast<int>(config.identity.index)};
  const HostPort& own = config.bind ? *config.bind : config.address;
  const std::string ip = config.bind ? ip_to_bind(own) : wait_for_name(task, own, config);
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
  const Resolution listed = resolve_ip(config.address);  // A name for other hosts does not have to resolve here.
  if (listed) endpoints.push_back(same_host_endpoint(listed.ip, config.address.port));
  return endpoints;
}

// Warns about the addresses that a ps without keys listens at, or throws if it must not.
void check_openness(const std::string& tcp_endpoint, const AccessRules& access) {
  const std::string place = tcp_endpoint.substr(std::string_view("tcp://").size());
  const std::string ip = parse_host_port(place).host;
  const bool any = is_any_address(ip);
  std::vector<std::string> own = {ip};
  if (any) own = local_addresses();
  if (ip == "0.0.0.0") std::erase_if(own, [](const std::string& each) { return each.find(':') != each.npos; });
  bool is_open = false;
  for (const std::string& address : own) {
    const AddressBlock block = parse_address_block(address);
    if (!access.insecure) require_private(block, "where this ps listens");
    is_open |= is_public(block);
  }
  if (!any && !is_open) return;
  log_warning(
      "this ps serves {} without keys: only the allow list (the hosts of the cluster and --allow) keeps others out, "
      "and its traffic can be read on the network; make keys for --keys with distmnist keygen",
      any ? "all interfaces" : "a public address");
}

// Connections that were refused. The server's thread reports them; the ps's thread logs what was omitted.
class Refusals {
 public:
  void note(const std::string& address, const std::string& why) {
    const std::lock_guard lock(mutex_);
    const std::string_view who = address == kThisHost ? "a process on " : "";
    if (const auto line = log_.line(address, fmt::format("cut off {}{}: it {}", who, address, why), monotonic_ms())) {
      log_warning("{}", *line);
    }
  }
  void say_what_is_due() {
    const std::lock_guard lock(mutex_);
    for (const std::string& line : log_.due(monotonic_ms())) log_warning("{}", line);
  }

 private:
  std::mutex mutex_;
  RareLog log_;
};

// A ps always lets in connections from its own address. With keys, public addresses are treated like all others.
AccessRules rules_of(const ParameterServerConfig& config) {
  AccessRules rules = config.access;
  rules.has_keys = config.keys.has_value();
  rules.hosts.push_back(config.address);
  return rules;
}

// The parts of a ps that are on a network.
struct Network {
  explicit Network(const ParameterServerConfig& config) {
    ServerOptions options;
    options.endpoints = endpoints_of(config);
    options.keys = config.keys;
    if (!config.keys) check_openness(options.endpoints.front(), config.access);
    if (!config.keys || !config.access.allow.empty()) {
      doorkeeper.emplace(rules_of(config));
      require_no_fault();
      options.lets_in = [this](std::string_view address) { return doorkeeper->lets_in(address); };
    }
    options.refused = [this](const std::string& address, const std::string& why) { refusals.note(address, why); };
    server = std::make_unique<NetworkServer>(std::move(options));
    for (const auto& [endpoint, why] : server->left_out()) {
      log_warning("{}, so workers on this host use TCP, which is slower", why);
    }
  }
  void look_around() {
    refusals.say_what_is_due();
    if (doorkeeper) {
      for (const std::string& warning : doorkeeper->take_warnings()) log_warning("{}", warning);
    }
    require_no_fault();
  }
  void require_no_fault() {
    if (const auto fault = doorkeeper ? doorkeeper->fault() : std::nullopt) throw Error(ExitCode::kSecurity, *fault);
  }

  std::optional<Doorkeeper> doorkeeper;  // unless every peer may connect
  Refusals refusals;
  std::unique_ptr<NetworkServer> server;
};

ExitCode serve(const ParameterServerConfig& config, ServerSocket& socket, const std::function<void()>& look_around) {
  Shell shell(socket);
  ThreadPool pool(config.threads);
  PatientClock clock;
  PsCore core({config.identity, config.limits, &pool}, shell, clock.now());
  log_info("listening on {}", join(socket.bound(), " and "));

  TimeMs last_tick_ms = clock.now();
  Sender from;
  while (!core.end()) {
    if (socket.poll(kTickMs)) {
      while (!core.end()) {
        auto received = socket.receive(from);
        if (!received) break;
        core.on_message(from, std::move(*received), clock.now());
        if (clock.now() - last_tick_ms >= kTickMs) break;
      }
    }
    if (const auto code = config.stop_signal ? config.stop_signal() : std::nullopt) core.on_signal(*code, clock.now());
    if (clock.now() - last_tick_ms >= kTickMs) {
      last_tick_ms = clock.now();
      core.on_tick(last_tick_ms);
      look_around();
    }
  }
  const PsCore::End& end = *core.end();
  if (end.code == ExitCode::kLostPeer || end.code == ExitCode::kDiverged) {
    fail(end.code, "ps:{}: {}", config.identity.index, end.reason);
  }
  log_info("{}; exit {}", end.reason, static_cast<int>(end.code));
  return end.code;
}

}  // namespace

ExitCode run_parameter_server(const ParameterServerConfig& config) {
  if (!config.endpoint.empty()) {
    const std::unique_ptr<ServerSocket> server = make_in_process_server(*config.context, config.endpoint);
    return serve(config, *server, [] {});
  }
  Network network(config);
  return serve(config, *network.server, [&] { network.look_around(); });
}

}  // namespace distmnist
