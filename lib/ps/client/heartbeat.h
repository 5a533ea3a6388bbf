// Heartbeat: a thread that keeps a worker's leases while the worker computes, and answers probes for it.
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
  // One ps: where it is, and the header of the pings it is sent (worker, incarnation, lease, epoch, container).
  struct Target {
    std::string endpoint;
    Header header;
    std::optional<ClientKeys> keys{};  // where the cluster has keys
  };

  explicit Heartbeat(WireContext& context) : context_(context) {}
  ~Heartbeat() { stop(); }

  // Starts with these targets, or goes on with them. Pings at once.
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
