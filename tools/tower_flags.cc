#include "tools/tower_flags.h"

#include <algorithm>

#include "lib/base/error.h"
#include "tools/flag_values.h"

namespace distmnist {
namespace {

constexpr int kMaxTowers = 64;

void check_in_graph(const Flags& flags) {
  if (!flags.cluster.job_name.empty() || !flags.cluster.ps_hosts.empty() || !flags.cluster.worker_hosts.empty() ||
      !flags.cluster.file.empty()) {
    fail(ExitCode::kUsage,
         "--replication=in_graph: in-graph replication is within one process; leave out --job_name and the cluster, or "
         "give --devices to the workers of a between_graph run");
  }
  if (!has_towers(flags)) {
    fail(ExitCode::kUsage, "--replication=in_graph: say with --devices or --num_gpus what the towers compute on");
  }
  if (flags.replication.num_workers > 1) {
    fail(ExitCode::kUsage, "--num_workers={}: in-graph replication has one worker; its replicas are the --devices",
         flags.replication.num_workers);
  }
}

void check_device_names(const Flags& flags) {
  std::vector<DeviceSpec> seen;
  for (DeviceSpec device : devices_of(flags)) {
    if (device.job || device.replica || device.task) {
      fail(ExitCode::kUsage, "--devices={}: towers are within one process; leave out the job and the task of {}",
           *text_of(flags.devices.devices), device.to_string());
    }
    device.index = device.index.value_or(0);
    if (std::ranges::find(seen, device) != seen.end()) {
      fail(ExitCode::kUsage,
           "--devices={}: a device is listed twice; give each a different number, as in /cpu:0,/cpu:1",
           *text_of(flags.devices.devices));
    }
    seen.push_back(device);
  }
  if (seen.size() > kMaxTowers) {
    fail(ExitCode::kUsage, "--devices: {} devices are too many; name at most {}", seen.size(), kMaxTowers);
  }
}

}  // namespace

bool has_towers(const Flags& flags) {
  return !flags.devices.devices.empty() || flags.devices.num_gpus > 0;
}

std::vector<DeviceSpec> devices_of(const Flags& flags) {
  if (!flags.devices.devices.empty()) return flags.devices.devices;
  if (flags.devices.num_gpus == 0) return {flags.devices.device.value_or(parse_device("/cpu:0"))};
  std::vector<DeviceSpec> gpus;
  for (int i = 0; i < flags.devices.num_gpus; ++i) gpus.push_back(parse_device(fmt::format("/gpu:{}", i)));
  return gpus;
}

BatchSizeSchedule step_batch_sizes(const Flags& flags) {
  const BatchSizeSchedule sizes = flags.training.batch_sizes();
  return flags.devices.batch_per_tower ? sizes.times(std::ssize(devices_of(flags))) : sizes;
}

bool has_independent_towers(const Flags& flags) {
  return flags.devices.replication == Replication::kInGraph && flags.replication.sync_replicas == false;
}

Flags flags_of_independent_tower(const Flags& flags, std::size_t tower) {
  const std::vector<DeviceSpec> devices = devices_of(flags);
  Flags out = flags;
  out.devices.replication = Replication::kBetweenGraph;
  out.replication.num_workers = static_cast<int>(devices.size());
  out.devices.devices = {devices[tower]};
  out.devices.num_gpus = 0;
  out.devices.batch_per_tower = false;
  if (!flags.devices.batch_per_tower)
    out.training.batch_size = std::max<std::int64_t>(1, flags.training.batch_size / std::ssize(devices));
  return out;
}

void check_tower_flags(const Flags& flags) {
  if (flags.devices.num_gpus < 0 || flags.devices.num_gpus > kMaxTowers) {
    fail(ExitCode::kUsage, "--num_gpus={}: give 0 to {} GPUs", flags.devices.num_gpus, kMaxTowers);
  }
  if (flags.devices.device.has_value() + !flags.devices.devices.empty() + (flags.devices.num_gpus > 0) > 1) {
    fail(ExitCode::kUsage, "--device, --devices and --num_gpus all say what to compute on; give only one of them");
  }
  if (flags.devices.batch_per_tower && !has_towers(flags)) {
    fail(ExitCode::kUsage, "--batch_per_tower: there are no towers; give --devices or --num_gpus");
  }
  if (flags.devices.replication == Replication::kInGraph) check_in_graph(flags);
  if (has_independent_towers(flags) && flags.training.batch_size_schedule && !flags.devices.batch_per_tower) {
    fail(ExitCode::kUsage,
         "--batch_size_schedule={}: towers that apply their gradients separately take it only with --batch_per_tower, "
         "for each tower's batch",
         *text_of(*flags.training.batch_size_schedule));
  }
  if (!flags.devices.devices.empty()) check_device_names(flags);
}

}  // namespace distmnist
