// Cgroup: the limits that cgroups set for this process. Containers, Kubernetes, systemd and Slurm use them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace distmnist {

struct CgroupLimits {
  std::optional<double> cpus;           // for all threads together; 1.5 means one and a half
  std::optional<std::int64_t> threads;  // processes and threads that may exist at once
};

// The tightest limits of this process's cgroup and its ancestors, as far as they are visible here; cgroup versions 1
// and 2. Files are read below `root`, which is "/" except in tests. There are no errors: a file that cannot be read
// sets no limit.
CgroupLimits read_cgroup_limits(const std::filesystem::path& root = "/");

}  // namespace distmnist
