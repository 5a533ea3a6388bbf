// Heartbeat: a thread that keeps a worker's leases alive while the worker computes, and answers probes for it.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/time_ms.h"
#include "lib/wire/transport.h"

namespace distmnist {

inline constexpr TimeMs kHeartbeatMs = 3'000;  // a fifth of a lease

class Heartbeat {
 public:
  // One ps: its endpoint, and the header of the pings to it (worker, incarnation, lease, epoch, container).
  struct Target {
    std::string endpoint;
    Header header;
    std::optional<ClientKeys> keys{};  // if the cluster has keys
  };

  explicit Heartbeat(WireContext& context) : context_(context) {}
  ~Heartbeat() { stop(); }

  // Starts the thread or replaces its targets. Pings at once.
  void set_targets(std::vector<Target> targets);
  void stop();

 private:
  void run();

  WireContext& context_;
  std::mutex mutex_;
  std::vector<Target> targets_;
  bool changed_ = false;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace distmnist
