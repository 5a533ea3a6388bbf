// Parameter servers in threads of the test process, with real sockets: RunningPs runs run_parameter_server() like the
// program, and MortalPs runs a PsCore that can be killed or paused at any moment.
#pragma once

#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/clock.h"
#include "lib/cluster/address.h"
#include "lib/ps/server/parameter_server.h"
#include "lib/wire/network_server.h"
#include "tests/support/loopback.h"

namespace distmnist {

// Runs run_parameter_server() in a thread.
class RunningPs {
 public:
  RunningPs(std::uint16_t port, const PsIdentity& identity, WaitLimits limits = {}) : port_(port) {
    ParameterServerConfig config;
    config.address = {"127.0.0.1", port};
    config.identity = identity;
    config.limits = limits;
    config.stop_signal = [this]() -> std::optional<ExitCode> {
      const int code = signal_;
      if (code == 0) return std::nullopt;
      return static_cast<ExitCode>(code);
    };
    result_ = std::async(std::launch::async, [config] { return run_parameter_server(config); });
  }
  ~RunningPs() {
    if (result_.valid()) signal(ExitCode::kTerminated);
  }
  RunningPs(const RunningPs&) = delete;
  RunningPs& operator=(const RunningPs&) = delete;

  std::uint16_t port() const { return port_; }
  void signal(ExitCode code) { signal_ = static_cast<int>(code); }
  // The exit code; throws the exception that ended it.
  ExitCode wait() { return result_.get(); }

 private:
  std::uint16_t port_;
  std::atomic<int> signal_ = 0;
  std::future<ExitCode> result_;
};

// A ps that can die like a killed process: its sockets close without a message. start() starts a new process on the
// same port.
class MortalPs {
 public:
  // With `same_host` it also listens on its same-host endpoint, which workers prefer to TCP.
  MortalPs(std::uint16_t port, const PsIdentity& identity, bool same_host = true,
           std::optional<ServerKeys> keys = std::nullopt)
      : port_(port), identity_(identity), same_host_(same_host), keys_(std::move(keys)) {
    start();
  }
  ~MortalPs() { kill(); }
  MortalPs(const MortalPs&) = delete;
  MortalPs& operator=(const MortalPs&) = delete;

  void start() {
    ++identity_.epoch;
    killed_ = false;
    thread_ = std::thread([this] { serve(); });
  }
  void kill() {
    killed_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // Behaves like a stopped process: connections stay, but nothing is read or sent.
  void pause() { paused_ = true; }
  void resume() { paused_ = false; }

 private:
  struct Actions : PsActions {
    explicit Actions(ServerSocket& server) : socket(server) {}
    void send(const Route& to, Message&& message) override { socket.send(to, std::move(message)); }
    void keep(const Route& peer) override { socket.keep(peer); }
    void cut(const Route& peer) override { socket.cut(peer); }
    void log(LogLevel, const std::string&) override {}
    ServerSocket& socket;
  };

  void serve() {
    std::vector<std::string> endpoints = {tcp_endpoint("127.0.0.1", port_)};
    if (same_host_) endpoints.push_back(same_host_endpoint("127.0.0.1", port_));
    NetworkServer socket({.endpoints = endpoints, .keys = keys_});
    Actions actions(socket);
    PsCore core({.identity = identity_}, actions, monotonic_ms());
    Sender from;
    while (!killed_ && !core.end()) {
      socket.poll(10);
      if (paused_) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        continue;
      }
      while (auto received = socket.receive(from)) core.on_message(from, std::move(*received), monotonic_ms());
      core.on_tick(monotonic_ms());
    }
  }

  std::uint16_t port_;
  PsIdentity identity_;
  bool same_host_;
  std::optional<ServerKeys> keys_;
  std::atomic<bool> killed_ = false, paused_ = false;
  std::thread thread_;
};

}  // namespace distmnist
