#include "tools/cluster_setup.h"

#include <string>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace distmnist {
namespace {

constexpr std::size_t kMaxClusterFileBytes = 1 << 20;

std::string role_of(const Flags& flags) {
  if (flags.cluster.job_name == flags.cluster.ps_job || flags.cluster.job_name == "ps") return "ps";
  if (flags.cluster.job_name == flags.cluster.worker_job || flags.cluster.job_name == "worker") return "worker";
  fail(ExitCode::kUsage,
       "--job_name={}: choose ps or worker; --ps_job and --worker_job say which jobs of the cluster these are",
       flags.cluster.job_name);
}

// An unreadable cluster file is an invalid description, not bad data.
std::string read_cluster_file(const std::string& path) {
  if (const std::size_t first = path.find_first_not_of(" \t\r\n"); first != path.npos && path[first] == '{') {
    fail(ExitCode::kUsage,
         "--cluster={}: this is the text of a description: write it to a file, for a TF_CONFIG only the value of its "
         "\"cluster\", and name the file",
         path);
  }
  try {
    return read_text_file(path, kMaxClusterFileBytes);
  } catch (const Error& error) {
    fail(ExitCode::kUsage, "--cluster={}: {}", path, error.what());
  }
}

ClusterSpec cluster_of(const Flags& flags, Workers workers) {
  const bool hosts = !flags.cluster.ps_hosts.empty() || !flags.cluster.worker_hosts.empty();
  if (hosts && !flags.cluster.file.empty()) {
    fail(ExitCode::kUsage, "--cluster={} and --ps_hosts/--worker_hosts both describe the cluster; give one of them",
         flags.cluster.file);
  }
  if (!flags.cluster.file.empty()) {
    return cluster_from_json(read_cluster_file(flags.cluster.file), flags.cluster.file,
                             {.ps = flags.cluster.ps_job, .worker = flags.cluster.worker_job}, workers);
  }
  if (!hosts) return built_in_cluster();
  ClusterSpec cluster;
  if (!flags.cluster.ps_hosts.empty()) cluster.ps = parse_host_list(flags.cluster.ps_hosts);
  if (!flags.cluster.worker_hosts.empty()) cluster.workers = parse_host_list(flags.cluster.worker_hosts);
  cluster.source = "--ps_hosts and --worker_hosts";
  return cluster;
}

}  // namespace

std::vector<AddressBlock> allowed_addresses(const Flags& flags) {
  if (flags.cluster.insecure && flags.cluster.keys)
    fail(ExitCode::kUsage, "--insecure and --keys: --insecure is for tasks without keys; leave it out");
  if (flags.cluster.allow.empty()) return {};
  try {
    return parse_address_blocks(flags.cluster.allow);
  } catch (const Error& error) {
    fail(error.code(), "--allow={}: {}", flags.cluster.allow, error.what());
  }
}

bool describes_cluster(const Flags& flags) {
  return !flags.cluster.ps_hosts.empty() || !flags.cluster.worker_hosts.empty() || !flags.cluster.file.empty();
}

std::optional<Place> find_place(const Flags& flags) {
  if (flags.cluster.job_name.empty()) {
    if (describes_cluster(flags))
      fail(ExitCode::kUsage,
           "a cluster is described but --job_name is missing; say --job_name=ps or --job_name=worker");
    if (flags.cluster.task_index) {
      fail(ExitCode::kUsage, "--task_index={} without --job_name: say --job_name=ps or --job_name=worker",
           *flags.cluster.task_index);
    }
    if (!flags.cluster.bind.empty())
      fail(ExitCode::kUsage, "--bind={} without --job_name: a local run does not listen", flags.cluster.bind);
    if (!flags.cluster.allow.empty())
      fail(ExitCode::kUsage, "--allow={} without --job_name: a local run takes no connections", flags.cluster.allow);
    if (flags.cluster.insecure)
      fail(ExitCode::kUsage, "--insecure without --job_name: a local run takes no connections");
    if (flags.cluster.keys)
      fail(ExitCode::kUsage, "--keys={} without --job_name: a local run does not talk to other processes",
           *flags.cluster.keys);
    return std::nullopt;
  }
  const std::string role = role_of(flags);
  allowed_addresses(flags);  // Only a ps uses them, but a typo is reported for every task.
  // A ps that stays does not know its workers when it starts.
  const Workers workers = role == "ps" && flags.cluster.ps_stay ? Workers::kOptional : Workers::kNeeded;
  Place place{cluster_of(flags, workers), {role, flags.cluster.task_index.value_or(0)}};
  validate(place.cluster, workers);
  const HostPort& address = address_of(place.cluster, place.task);
  if (role == "worker") require_all_known(place.cluster.ps, "ps", place.cluster.source);
  if (!flags.cluster.bind.empty()) place.bind = parse_bind_address(flags.cluster.bind, address.port);
  return place;
}

ClusterSpec described_cluster(const Flags& flags) {
  ClusterSpec cluster = cluster_of(flags, Workers::kOptional);
  validate(cluster, Workers::kOptional);
  return cluster;
}

std::vector<HostPort> find_ps_tasks(const Flags& flags) {
  ClusterSpec cluster = described_cluster(flags);
  require_all_known(cluster.ps, "ps", cluster.source);
  return std::move(cluster.ps);
}

}  // namespace distmnist
