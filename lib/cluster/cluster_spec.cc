#include "lib/cluster/cluster_spec.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "lib/base/error.h"
#include "lib/base/join.h"
#include "lib/base/lower_case.h"
#include "lib/base/trimmed.h"

namespace distmnist {
namespace {

using Json = nlohmann::json;

// Far above any cluster; a mistyped number costs no memory.
constexpr std::size_t kMaxTaskIndex = 1'000'000;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// 0 if `text` is not a port.
std::uint16_t parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() ? port : 0;
}

// The host and the port's text, still unchecked, without the brackets of an IPv6 address.
std::pair<std::string_view, std::string_view> split_host_port(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  const bool bracketed = text.starts_with('[');
  if (colon == std::string_view::npos || (bracketed && text.back() == ']')) {
    fail(ExitCode::kUsage, "'{}' has no port: write host:port, like localhost:2222", text);
  }
  const std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (bracketed) {
    if (!host.ends_with(']')) fail(ExitCode::kUsage, "'{}' is not an address: write [::1]:2222 for IPv6", text);
    return {host.substr(1, host.size() - 2), port};
  }
  if (host.find(':') != std::string_view::npos) {
    // If there are slashes, a scheme is the likelier mistake.
    if (host.find('/') != std::string_view::npos) {
      fail(ExitCode::kUsage, "'{}' begins with a scheme: write host:port only, like localhost:2222", text);
    }
    fail(ExitCode::kUsage, "'{}' has more than one colon: put an IPv6 address in brackets, like [::1]:2222", text);
  }
  return {host, port};
}

bool is_host_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_' || c == ':' || c == '%';
}

// The text between two addresses in one piece of a list, "a:1;b:2", if it is not a separator; empty if there is none.
std::string_view foreign_separator(std::string_view piece) {
  const auto belongs = [](char c) { return is_host_character(c) || c == '[' || c == ']' || c == '/'; };
  const auto begin = std::find_if_not(piece.begin(), piece.end(), belongs);
  const auto end = std::find_if(begin, piece.end(), belongs);
  const bool between_addresses =
      std::find(piece.begin(), begin, ':') != begin && std::find(end, piece.end(), ':') != piece.end();
  return between_addresses ? std::string_view(begin, end) : std::string_view();
}

// nlohmann's text without its "[json.exception...] " label.
std::string_view reason_of(const Json::exception& error) {
  const std::string_view text = error.what();
  const std::size_t label_end = text.find("] ");
  return label_end == std::string_view::npos ? text : text.substr(label_end + 2);
}

// The keys from the outermost object to an inner one.
using KeyPath = std::vector<std::string>;

struct Description {
  Json json;                // an object
  std::set<KeyPath> twice;  // duplicate keys: the library silently keeps the last one
};

Description parse_description(std::string_view text, std::string_view file_name) {
  Description out;
  std::set<KeyPath> seen;
  KeyPath path;
  constexpr int kMeaningfulDepth = 2;  // jobs, and the numbers of their tasks
  const auto note_key = [&](int depth, Json::parse_event_t event, Json& key) {
    if (event != Json::parse_event_t::key || depth > kMeaningfulDepth) return true;
    path.resize(static_cast<std::size_t>(depth) - 1);
    path.push_back(key.get<std::string>());
    if (!seen.insert(path).second) out.twice.insert(path);
    return true;
  };
  try {
    out.json = Json::parse(text, note_key);
  } catch (const Json::exception& error) {
    fail(ExitCode::kUsage, "{} is not JSON: {}", file_name, reason_of(error));
  }
  if (!out.json.is_object()) {
    fail(ExitCode::kUsage, R"({} is not a JSON object: write {{"ps": ["host:port"], "worker": ["host:port"]}})",
         file_name);
  }
  return out;
}

// TensorFlow's TF_CONFIG has the cluster under "cluster", beside the process's own "task".
void refuse_tf_config(const Json& json, std::string_view file_name) {
  const auto cluster = json.find("cluster");
  if (cluster == json.end() || !cluster->is_object()) return;
  fail(ExitCode::kUsage,
       R"({} is a whole TF_CONFIG: put only the value of its "cluster" into the file, and give the values of its )"
       R"("task" with --job_name and --task_index)",
       file_name);
}

void refuse_duplicates(const Description& description, std::string_view file_name, const JobNames& jobs) {
  for (const KeyPath& path : description.twice) {
    if (path.size() == 1) fail(ExitCode::kUsage, "{} describes job '{}' twice: keep one of them", file_name, path[0]);
    if (path.size() == 2 && (path[0] == jobs.ps || path[0] == jobs.worker)) {
      fail(ExitCode::kUsage, "{} describes task {} of job '{}' twice: keep one of them", file_name, path[1], path[0]);
    }
  }
}

std::string quoted_jobs(const Json& cluster) {
  std::vector<std::string> names;
  for (const auto& [name, hosts] : cluster.items()) names.push_back("'" + name + "'");
  return names.empty() ? "no jobs" : join(names, ", ");
}

HostPort host_of_task(const Json& entry, std::string_view file_name, std::string_view job, std::size_t index) {
  if (!entry.is_string()) {
    fail(ExitCode::kUsage, R"({}: task {} of job '{}' is {} and not a string: write "host:port")", file_name, index,
         job, entry.type_name());
  }
  try {
    return parse_host_port(entry.get<std::string>());
  } catch (const Error& error) {
    fail(error.code(), "{}: task {} of job '{}': {}", file_name, index, job, error.what());
  }
}

// {"0": "host:port", "2": "host:port"}: tasks that are not named stay empty.
std::vector<HostPort> numbered_hosts(const Json& tasks, std::string_view file_name, std::string_view job) {
  std::vector<HostPort> hosts;
  for (const auto& [key, entry] : tasks.items()) {
    std::size_t index = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
    if (error != std::errc() || end != key.data() + key.size() || index > kMaxTaskIndex) {
      fail(ExitCode::kUsage,
           R"({}: '{}' of job '{}' is not a task number: write {{"0": "host:port", "1": "host:port"}})", file_name, key,
           job);
    }
    if (hosts.size() <= index) hosts.resize(index + 1);
    if (is_known(hosts[index])) {
      fail(ExitCode::kUsage, "{} describes task {} of job '{}' twice: keep one of them", file_name, index, job);
    }
    hosts[index] = host_of_task(entry, file_name, job, index);
  }
  return hosts;
}

std::vector<HostPort> hosts_of_job(const Json& cluster, std::string_view file_name, std::string_view job,
                                   std::string_view flag) {
  const auto found = cluster.find(job);
  if (found == cluster.end()) {
    fail(ExitCode::kUsage, "{} has no job '{}' (it has {}): say with {} which job plays this role", file_name, job,
         quoted_jobs(cluster), flag);
  }
  if (found->is_object()) return numbered_hosts(*found, file_name, job);
  if (!found->is_array()) {
    fail(ExitCode::kUsage, R"({}: job '{}' is not a list: write ["host:port", ...], or {{"0": "host:port", ...}})",
         file_name, job);
  }
  std::vector<HostPort> hosts;
  for (const Json& entry : *found) hosts.push_back(host_of_task(entry, file_name, job, hosts.size()));
  return hosts;
}

const std::vector<HostPort>& tasks_of(const ClusterSpec& cluster, const std::string& job) {
  if (job == "ps") return cluster.ps;
  if (job == "worker") return cluster.workers;
  fail(ExitCode::kUsage, "job '{}' has no tasks in a cluster: choose ps or worker", job);
}

}  // namespace

std::string HostPort::to_string() const {
  const bool ipv6 = host.find(':') != std::string::npos;
  return ipv6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

bool is_any_address(std::string_view host) {
  return host == "0.0.0.0" || (host.find(':') != std::string_view::npos && host.find_first_not_of("0:") == host.npos);
}

HostPort parse_host_port(std::string_view text) {
  const auto [host, port_text] = split_host_port(text);
  if (host.empty()) fail(ExitCode::kUsage, "'{}' has no host: write host:port, like localhost:2222", text);
  const auto bad = std::find_if_not(host.begin(), host.end(), is_host_character);
  if (bad != host.end()) fail(ExitCode::kUsage, "'{}' is not host:port: a host name cannot contain '{}'", text, *bad);
  const std::uint16_t port = parse_port(port_text);
  if (port == 0 || !std::all_of(port_text.begin(), port_text.end(), is_digit)) {
    fail(ExitCode::kUsage, "the port '{}' of '{}' is not a number from 1 to 65535", port_text, text);
  }
  return {std::string(host), port};
}

std::vector<HostPort> parse_host_list(std::string_view text) {
  std::vector<HostPort> hosts;
  std::size_t begin = 0;
  while (true) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    std::string_view piece = trimmed(text.substr(begin, comma - begin));
    if (piece.empty()) {
      fail(ExitCode::kUsage, "entry {} of the host list '{}' is empty: write host:port,host:port", hosts.size(), text);
    }
    while (!piece.empty()) {  // Several addresses may stand between commas, for example the lines of a file.
      const std::string_view word = piece.substr(0, piece.find_first_of(kBlanks));
      if (const std::string_view separator = foreign_separator(word); !separator.empty()) {
        fail(ExitCode::kUsage, "'{}': the addresses of a host list are separated by commas or spaces, not by '{}'",
             word, separator);
      }
      hosts.push_back(parse_host_port(word));
      piece = trimmed(piece.substr(word.size()));
    }
    if (comma == text.size()) return hosts;
    begin = comma + 1;
  }
}

HostPort parse_bind_address(std::string_view text, std::uint16_t default_port) {
  const bool bare_ipv6 = !text.starts_with('[') && std::ranges::count(text, ':') > 1;
  const bool has_port = !bare_ipv6 && !text.ends_with(']') && text.find(':') != std::string_view::npos;
  if (has_port) return parse_host_port(text);
  const bool brackets = text.starts_with('[') && text.ends_with(']');
  const std::string_view host = brackets ? text.substr(1, text.size() - 2) : text;
  const bool good = !host.empty() && std::ranges::all_of(host, is_host_character);
  if (!good)
    fail(ExitCode::kUsage, "--bind={}: not an address to listen on; write 0.0.0.0, [::], an IP address or a name",
         text);
  return {std::string(host), default_port};
}

ClusterSpec built_in_cluster() {
  return {{{"localhost", 2222}}, {{"localhost", 2223}, {"localhost", 2224}, {"localhost", 2225}}, "the built-in list"};
}

ClusterSpec cluster_from_json(std::string_view json, std::string_view file_name, const JobNames& jobs,
                              Workers workers) {
  if (jobs.ps == jobs.worker) {
    fail(ExitCode::kUsage, "--ps_job and --worker_job are both '{}': they must name two jobs of {}", jobs.ps,
         file_name);
  }
  const Description description = parse_description(json, file_name);
  const Json& parsed = description.json;
  refuse_tf_config(parsed, file_name);
  refuse_duplicates(description, file_name, jobs);
  ClusterSpec cluster;
  cluster.source = file_name;
  cluster.ps = hosts_of_job(parsed, file_name, jobs.ps, "--ps_job");
  if (workers == Workers::kNeeded || parsed.contains(jobs.worker)) {
    cluster.workers = hosts_of_job(parsed, file_name, jobs.worker, "--worker_job");
  }
  for (const auto& [job, hosts] : parsed.items()) {
    if (job == jobs.ps || job == jobs.worker) continue;
    cluster.remarks.push_back(
        fmt::format("{}: job '{}' has no role here: '{}' is the ps and '{}' the workers (--ps_job, --worker_job)",
                    file_name, job, jobs.ps, jobs.worker));
  }
  return cluster;
}

void validate(const ClusterSpec& cluster, Workers workers) {
  for (std::size_t i = 0; i < cluster.ps.size(); ++i) {
    if (!is_any_address(cluster.ps[i].host)) continue;
    fail(ExitCode::kUsage,
         "{} of ps:{} in {} means every interface and is not an address that a worker can connect to: list the address "
         "of its host, and start the ps with --bind={}",
         cluster.ps[i].host, i, cluster.source, cluster.ps[i].host == "0.0.0.0" ? "0.0.0.0" : "[::]");
  }
  if (cluster.ps.empty()) {
    fail(ExitCode::kUsage, "the cluster from {} has no ps: name at least one, like --ps_hosts localhost:2222",
         cluster.source);
  }
  if (workers == Workers::kNeeded && cluster.workers.empty()) {
    fail(ExitCode::kUsage, "the cluster from {} has no worker: name at least one, like --worker_hosts localhost:2223",
         cluster.source);
  }
  std::map<HostPort, TaskId> taken;
  const auto claim = [&](const std::string& job, const std::vector<HostPort>& hosts) {
    for (std::size_t i = 0; i < hosts.size(); ++i) {
      if (!is_known(hosts[i])) continue;
      const TaskId task{job, static_cast<int>(i)};
      const auto [first, is_new] = taken.try_emplace({lower_case(hosts[i].host), hosts[i].port}, task);
      if (!is_new) {
        fail(ExitCode::kUsage, "{} and {} are both at {} in {}: give every task its own host:port",
             first->second.to_string(), task.to_string(), hosts[i].to_string(), cluster.source);
      }
    }
  };
  claim("ps", cluster.ps);
  claim("worker", cluster.workers);
}

const HostPort& address_of(const ClusterSpec& cluster, const TaskId& task) {
  const std::vector<HostPort>& tasks = tasks_of(cluster, task.job);
  if (tasks.empty()) fail(ExitCode::kUsage, "the cluster from {} has no {}", cluster.source, task.job);
  if (task.index < 0 || task.index >= static_cast<int>(tasks.size())) {
    fail(ExitCode::kUsage, "--task_index={} is out of range: the cluster from {} has {}:0 to {}:{}", task.index,
         cluster.source, task.job, task.job, tasks.size() - 1);
  }
  const HostPort& address = tasks[static_cast<std::size_t>(task.index)];
  if (!is_known(address))
    fail(ExitCode::kUsage, "the cluster from {} does not name {}", cluster.source, task.to_string());
  return address;
}

void require_all_known(const std::vector<HostPort>& tasks, const std::string& job, const std::string& source) {
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    if (is_known(tasks[i])) continue;
    fail(ExitCode::kUsage, "the cluster from {} does not name {}:{}, which every worker has to reach", source, job, i);
  }
}

int tasks_on_same_host(const std::vector<HostPort>& tasks, std::size_t index) {
  const std::string host = lower_case(tasks.at(index).host);
  return static_cast<int>(
      std::count_if(tasks.begin(), tasks.end(), [&](const HostPort& task) { return lower_case(task.host) == host; }));
}

}  // namespace distmnist
