// Heartbeat: a thread that keeps a worker's leases alive while the worker computes, and answers probes for it.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lib/base/time_ms.h"
#include "lib/base/watchdog.h"
#include "lib/wire/transport.h"

namespace distmnist {

class Heartbeat {
 public:
  // One ps: its endpoint, and the header of the pings to it (worker, incarnation, lease, epoch, container).
  struct Target {
    std::string endpoint;
    Header header;
    std::optional<ClientKeys> keys{};  // if the cluster has keys
  };

  struct Config {
    TimeMs every_ms = 3'000;  // a fifth of a lease
    // Whether the computation is stuck; empty: it is not watched.
    std::function<std::optional<Stuck>()> stuck;
  };
  Heartbeat(WireContext& context, Config config) : context_(context), config_(std::move(config)) {}
  ~Heartbeat() { stop(); }

  // Starts the thread or replaces its targets. Pings at once.
  void set_targets(std::vector<Target> targets);
  void stop();

 private:
  void run();

  WireContext& context_;
  Config config_;
  std::mutex mutex_;
  std::vector<Target> targets_;
  bool changed_ = false;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace distmnist
