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

// "a:1,b:2" -> two; spaces around a piece do not count. Empty pieces are an error.
std::vector<HostPort> parse_host_list(std::string_view text);

struct TaskId {
  std::string job;  // the role, "ps" or "worker", whatever the job is called in the description
  int index = 0;

  std::string to_string() const { return job + ":" + std::to_string(index); }  // "worker:1"
  auto operator<=>(const TaskId&) const = default;
};

struct ClusterSpec {
  std::vector<HostPort> ps;
  std::vector<HostPort> workers;
  std::string source;  // for the log: "--ps_hosts and --worker_hosts", "cluster.json", "built-in"

  bool empty() const { return ps.empty() && workers.empty(); }
};

// ps localhost:2222, workers localhost:2223..2225.
ClusterSpec built_in_cluster();

// Whether a description must name workers; a ps that serves any number of runs does without.
enum class Workers { kNeeded, kOptional };

// {"ps": ["h:p", ...], "worker": ["h:p", ...]}; any other job name where ps_job / worker_job ask for it. Jobs that play
// no role are ignored. Error (kUsage) names the file and what is wrong with it: not JSON, no such job, a job twice, not
// host:port. `file_name` becomes the cluster's source.
ClusterSpec cluster_from_json(std::string_view json, std::string_view file_name, std::string_view ps_job,
                              std::string_view worker_job, Workers workers = Workers::kNeeded);

// Two tasks on one host:port (capitals do not count), or no ps, or no worker where one is needed: Error (kUsage) that
// names both tasks.
void validate(const ClusterSpec& cluster, Workers workers = Workers::kNeeded);

// Where `task` listens. Error (kUsage): task_index out of range, naming the range.
const HostPort& address_of(const ClusterSpec& cluster, const TaskId& task);

// How many of `tasks` are on the same host as tasks[index] (the text of the host is compared), at least 1.
int tasks_on_same_host(const std::vector<HostPort>& tasks, std::size_t index);

}  // namespace distmnist
