// What a cgroup leaves of the host to this process: containers, Kubernetes, systemd and Slurm limit processes so.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace distmnist {

struct CgroupLimits {
  std::optional<double> cpus;           // of all threads together, 1.5 for one and a half
  std::optional<std::int64_t> threads;  // processes and threads that may be there at once
};

// The tightest limits of this process's cgroup and those above it, as far as they can be seen from here; version 1 and
// 2. Files are looked for below `root`, which is "/" but in tests. Nothing is an error: what cannot be read does not
// limit.
CgroupLimits read_cgroup_limits(const std::filesystem::path& root = "/");

}  // namespace distmnist
