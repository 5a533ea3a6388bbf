#include "lib/cluster/cluster_spec.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "lib/base/error.h"
#include "lib/base/join.h"

namespace distmnist {
namespace {

using Json = nlohmann::json;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// 0 where `text` is no port.
std::uint16_t parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() ? port : 0;
}

// The host and the port's text, still unchecked; the brackets of an IPv6 address are gone.
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
    // A scheme is the likelier slip where there are slashes.
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

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// nlohmann's text without its "[json.exception...] " label.
std::string_view reason_of(const Json::exception& error) {
  const std::string_view text = error.what();
  const std::size_t label_end = text.find("] ");
  return label_end == std::string_view::npos ? text : text.substr(label_end + 2);
}

// Parses a JSON object; the library would let the last of two equal job names win in silence.
Json parse_object(std::string_view text, std::string_view file_name) {
  std::set<std::string> jobs;
  const auto refuse_duplicates = [&](int depth, Json::parse_event_t event, Json& key) {
    if (event == Json::parse_event_t::key && depth == 1 && !jobs.insert(key.get<std::string>()).second) {
      fail(ExitCode::kUsage, "{} describes job '{}' twice: keep one of them", file_name, key.get<std::string>());
    }
    return true;
  };
  Json parsed;
  try {
    parsed = Json::parse(text, refuse_duplicates);
  } catch (const Json::exception& error) {
    fail(ExitCode::kUsage, "{} is not JSON: {}", file_name, reason_of(error));
  }
  if (!parsed.is_object()) {
    fail(ExitCode::kUsage, R"({} is not a JSON object: write {{"ps": ["host:port"], "worker": ["host:port"]}})",
         file_name);
  }
  return parsed;
}

std::string quoted_jobs(const Json& cluster) {
  std::vector<std::string> names;
  for (const auto& [name, hosts] : cluster.items()) names.push_back("'" + name + "'");
  return names.empty() ? "no jobs" : join(names, ", ");
}

std::vector<HostPort> hosts_of_job(const Json& cluster, std::string_view file_name, std::string_view job,
                                   std::string_view flag) {
  const auto found = cluster.find(job);
  if (found == cluster.end()) {
    fail(ExitCode::kUsage, "{} has no job '{}' but {}: say with {} which one plays this role", file_name, job,
         quoted_jobs(cluster), flag);
  }
  if (!found->is_array()) {
    fail(ExitCode::kUsage, R"({}: job '{}' is not a list: write ["host:port", ...])", file_name, job);
  }
  std::vector<HostPort> hosts;
  for (const Json& entry : *found) {
    if (!entry.is_string()) {
      fail(ExitCode::kUsage, R"({}: task {} of job '{}' is {} and not a text: write "host:port")", file_name,
           hosts.size(), job, entry.type_name());
    }
    try {
      hosts.push_back(parse_host_port(entry.get<std::string>()));
    } catch (const Error& error) {
      fail(error.code(), "{}: task {} of job '{}': {}", file_name, hosts.size(), job, error.what());
    }
  }
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

HostPort parse_host_port(std::string_view text) {
  const auto [host, port_text] = split_host_port(text);
  if (host.empty()) fail(ExitCode::kUsage, "'{}' has no host: write host:port, like localhost:2222", text);
  const auto bad = std::find_if_not(host.begin(), host.end(), is_host_character);
  if (bad != host.end()) fail(ExitCode::kUsage, "'{}' is not host:port: no host name contains '{}'", text, *bad);
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
    const std::string_view piece = trim(text.substr(begin, comma - begin));
    if (piece.empty()) {
      fail(ExitCode::kUsage, "entry {} of the host list '{}' is empty: write host:port,host:port", hosts.size(), text);
    }
    hosts.push_back(parse_host_port(piece));
    if (comma == text.size()) return hosts;
    begin = comma + 1;
  }
}

ClusterSpec built_in_cluster() {
  return {{{"localhost", 2222}}, {{"localhost", 2223}, {"localhost", 2224}, {"localhost", 2225}}, "built-in"};
}

ClusterSpec cluster_from_json(std::string_view json, std::string_view file_name, std::string_view ps_job,
                              std::string_view worker_job, Workers workers) {
  if (ps_job == worker_job) {
    fail(ExitCode::kUsage, "--ps_job and --worker_job are both '{}': they must name two jobs of {}", ps_job, file_name);
  }
  const Json parsed = parse_object(json, file_name);
  ClusterSpec cluster{hosts_of_job(parsed, file_name, ps_job, "--ps_job"), {}, std::string(file_name)};
  if (workers == Workers::kNeeded || parsed.contains(worker_job)) {
    cluster.workers = hosts_of_job(parsed, file_name, worker_job, "--worker_job");
  }
  return cluster;
}

void validate(const ClusterSpec& cluster, Workers workers) {
  if (cluster.ps.empty()) {
    fail(ExitCode::kUsage, "the cluster of {} has no ps: name at least one, like --ps_hosts localhost:2222",
         cluster.source);
  }
  if (workers == Workers::kNeeded && cluster.workers.empty()) {
    fail(ExitCode::kUsage, "the cluster of {} has no worker: name at least one, like --worker_hosts localhost:2223",
         cluster.source);
  }
  std::map<HostPort, TaskId> taken;
  const auto claim = [&](const std::string& job, const std::vector<HostPort>& hosts) {
    for (std::size_t i = 0; i < hosts.size(); ++i) {
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
  if (tasks.empty()) fail(ExitCode::kUsage, "the cluster of {} has no {}", cluster.source, task.job);
  if (task.index < 0 || task.index >= static_cast<int>(tasks.size())) {
    fail(ExitCode::kUsage, "task_index {} is out of range: the cluster of {} has {}:0 to {}:{}", task.index,
         cluster.source, task.job, task.job, tasks.size() - 1);
  }
  return tasks[static_cast<std::size_t>(task.index)];
}

int tasks_on_same_host(const std::vector<HostPort>& tasks, std::size_t index) {
  const std::string host = lower_case(tasks.at(index).host);
  return static_cast<int>(
      std::count_if(tasks.begin(), tasks.end(), [&](const HostPort& task) { return lower_case(task.host) == host; }));
}

}  // namespace distmnist
