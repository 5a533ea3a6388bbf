#include "tools/process_limits.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/join.h"
#include "lib/base/thread_trial.h"
#include "tools/cgroup.h"

namespace distmnist {
namespace {

constexpr rlim_t kFewThreads = 4096;
constexpr rlim_t kLargeStackBytes = rlim_t{64} << 20;

std::optional<rlim_t> limit_of(__rlimit_resource resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return limit.rlim_cur;
}

// The limits that may have prevented a thread from starting, with their values.
std::string limits_on_threads() {
  std::vector<std::string> found;
  if (const auto limit = read_cgroup_limits().threads) {
    found.push_back(
        fmt::format("the pids limit of the container or cgroup (docker --pids-limit, systemd TasksMax) is {}", *limit));
  }
  if (const auto limit = limit_of(RLIMIT_AS)) {
    found.push_back(fmt::format("ulimit -v (address space) is {} KiB", *limit / 1024));
  }
  if (const auto limit = limit_of(RLIMIT_DATA))
    found.push_back(fmt::format("ulimit -d (data) is {} KiB", *limit / 1024));
  // This is the size of thread stacks, usually eight MiB.
  if (const auto limit = limit_of(RLIMIT_STACK); limit && *limit > kLargeStackBytes) {
    found.push_back(fmt::format("ulimit -s (stack) is {} KiB", *limit / 1024));
  }
  // Every system sets this limit. A large value is unlikely to be the cause if another limit is set.
  const auto of_user = limit_of(RLIMIT_NPROC);
  if (of_user && (*of_user < kFewThreads || found.empty())) {
    found.push_back(fmt::format("ulimit -u (threads of the user) is {}", *of_user));
  }
  if (found.empty()) found.emplace_back("the system has too many threads or too little memory");
  return join(found, ", ");
}

}  // namespace

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);  // If this is refused, the current limit remains.
}

void require_sockets(int count) {
  constexpr int kOtherFiles = 16;
  const int needed = kOtherFiles + count;
  std::vector<FileDescriptor> open_files;
  for (int i = 0; i < needed; ++i) {
    FileDescriptor file(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!file) {
      const int error = errno;
      fail(ExitCode::kResources, "only {} more files can be opened, but {} are needed: {}", i, needed,
           errno_text(error));
    }
    open_files.push_back(std::move(file));
  }
}

void require_threads(int count) {
  try {
    try_threads(count);
  } catch (const std::system_error&) {
    throw Error(ExitCode::kResources, no_more_threads());
  }
}

std::string no_more_threads() {
  return fmt::format(
      "cannot start another thread: {}; raise the limit, or use fewer threads (--intra_op_parallelism_threads, "
      "--num_workers)",
      limits_on_threads());
}

std::string out_of_memory() {
  std::string text = "out of memory";
  if (const auto limit = limit_of(RLIMIT_AS))
    text += fmt::format("; ulimit -v (address space) is {} KiB", *limit / 1024);
  if (const auto limit = limit_of(RLIMIT_DATA)) text += fmt::format("; ulimit -d (data) is {} KiB", *limit / 1024);
  return text;
}

}  // namespace distmnist
