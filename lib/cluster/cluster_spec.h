// ClusterSpec: which task listens where. TaskId: one of them.
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

// "host:port" with a port 1..65535; an IPv6 address in brackets. Error (kUsage) quotes the text and says
// what is missing.
HostPort parse_host_port(std::string_view text);

// Whether the host is 0.0.0.0 or ::, which stand for every address of the host that listens.
bool is_any_address(std::string_view host);

// What a ps is told to listen at: "0.0.0.0", "[::]", an IP address or a name, with a port or with this one. Error
// (kUsage).
HostPort parse_bind_address(std::string_view text, std::uint16_t default_port);

// "a:1,b:2", "a:1 b:2" or a line each -> two. Empty pieces and other separators are an error.
std::vector<HostPort> parse_host_list(std::string_view text);

struct TaskId {
  std::string job;  // the role, "ps" or "worker", whatever the job is called in the description
  int index = 0;

  std::string to_string() const { return job + ":" + std::to_string(index); }  // "worker:1"
  auto operator<=>(const TaskId&) const = default;
};

struct ClusterSpec {
  // In order of the tasks. A description with numbered tasks may leave some out: is_known() tells.
  std::vector<HostPort> ps;
  std::vector<HostPort> workers;
  std::string source;                  // for the log: "--ps_hosts and --worker_hosts", "cluster.json", "built-in"
  std::vector<std::string> remarks{};  // what the user should know of how the description was read

  bool empty() const { return ps.empty() && workers.empty(); }
};

inline bool is_known(const HostPort& task) {
  return task.port != 0;
}

// ps localhost:2222, workers localhost:2223..2225.
ClusterSpec built_in_cluster();

// Whether a description must name workers; a ps that serves any number of runs does without.
enum class Workers { kNeeded, kOptional };

// {"ps": ["h:p", ...], "worker": ["h:p", ...]}; any other job name where ps_job / worker_job ask for it. The tasks of a
// job may be numbered, {"0": "h:p", "2": "h:p"}, the highest one being the last. Jobs that
// play no role are left out, with a remark. Error (kUsage) names the file and what is wrong with it: not JSON, no such
// job, a job or a task twice, not host:port, the text of a TF_CONFIG. `file_name` becomes the cluster's source.
ClusterSpec cluster_from_json(std::string_view json, std::string_view file_name, std::string_view ps_job,
                              std::string_view worker_job, Workers workers = Workers::kNeeded);

// Error (kUsage): two tasks on one host:port (capitals do not count), both named; a ps at 0.0.0.0 or [::]; no ps, or no
// worker where one is needed.
void validate(const ClusterSpec& cluster, Workers workers = Workers::kNeeded);

// The address of `task`. Error (kUsage): task_index out of range, naming the range, or a task that is not named.
const HostPort& address_of(const ClusterSpec& cluster, const TaskId& task);

// Error (kUsage) where one of the tasks of `job` is not named.
void require_all_known(const std::vector<HostPort>& tasks, const std::string& job, const std::string& source);

// How many of `tasks` are on the same host as tasks[index] (the text of the host is compared), at least 1.
int tasks_on_same_host(const std::vector<HostPort>& tasks, std::size_t index);

}  // namespace distmnist
