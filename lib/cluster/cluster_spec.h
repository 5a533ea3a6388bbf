// ClusterSpec: where each task listens. TaskId: one of the tasks.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace distmnist {

struct HostPort {
  std::string host;
  std::uint16_t port = 0;

  std::string to_string() const;  // "localhost:2222", "[::1]:2222"
  auto operator<=>(const HostPort&) const = default;
};

// "host:port" with a port 1..65535; an IPv6 address is in brackets. Throws Error (kUsage), which quotes the text and
// says what is missing.
HostPort parse_host_port(std::string_view text);

// Whether the host is 0.0.0.0 or ::, which mean every address of the listening host.
bool is_any_address(std::string_view host);

// The address that a ps should listen at: "0.0.0.0", "[::]", an IP address or a name, each with a port or with
// `default_port`. Throws Error (kUsage).
HostPort parse_bind_address(std::string_view text, std::uint16_t default_port);

// "a:1,b:2", "a:1 b:2" or one on each line -> two. Throws Error (kUsage) for empty pieces and other separators.
std::vector<HostPort> parse_host_list(std::string_view text);

struct TaskId {
  std::string job;  // the role, "ps" or "worker", whatever the description calls the job
  int index = 0;

  std::string to_string() const { return job + ":" + std::to_string(index); }  // "worker:1"
  auto operator<=>(const TaskId&) const = default;
};

struct ClusterSpec {
  // In task order. A description with numbered tasks may omit some; is_known() says which are present.
  std::vector<HostPort> ps;
  std::vector<HostPort> workers;
  std::string source;  // for the log: "--ps_hosts and --worker_hosts", "cluster.json", "the built-in list"
  std::vector<std::string> remarks{};  // what the user should know about how the description was read

  bool empty() const { return ps.empty() && workers.empty(); }
};

inline bool is_known(const HostPort& task) {
  return task.port != 0;
}

// ps localhost:2222, workers localhost:2223..2225.
ClusterSpec built_in_cluster();

// Whether a description must have workers. A ps that serves any number of runs does not need them.
enum class Workers { kNeeded, kOptional };

// What a description calls the jobs that play the two roles.
struct JobNames {
  std::string_view ps = "ps", worker = "worker";
};

// Reads {"ps": ["h:p", ...], "worker": ["h:p", ...]}, or the same with other job names. The tasks of a job may be
// numbered, {"0": "h:p", "2": "h:p"}; the highest number is the last task. Jobs without a role are skipped, with a
// remark. Throws Error (kUsage), which names the file and what is wrong: not JSON, no such job, a job or a task
// twice, not host:port, the text of a TF_CONFIG. `file_name` becomes the cluster's source.
ClusterSpec cluster_from_json(std::string_view json, std::string_view file_name, const JobNames& jobs = {},
                              Workers workers = Workers::kNeeded);

// Throws Error (kUsage) for two tasks on one host:port (case does not matter; it names both), for a ps at 0.0.0.0 or
// [::], and if there is no ps, or no worker although one is needed.
void validate(const ClusterSpec& cluster, Workers workers = Workers::kNeeded);

// The address of `task`. Throws Error (kUsage) if task_index is out of range (it names the range) or the task has no
// address.
const HostPort& address_of(const ClusterSpec& cluster, const TaskId& task);

// Throws Error (kUsage) if a task of `job` has no address.
void require_all_known(const std::vector<HostPort>& tasks, const std::string& job, const std::string& source);

// How many of `tasks` are on the same host as tasks[index] (compares the text of the host); at least 1.
int tasks_on_same_host(const std::vector<HostPort>& tasks, std::size_t index);

}  // namespace distmnist
