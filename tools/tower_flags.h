// What the flags say of towers: which devices share a training step, and how large its batch is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lib/base/device_spec.h"
#include "tools/flags.h"

namespace distmnist {

// Whether --devices or --num_gpus is given: a tower on each of these devices.
bool has_towers(const Flags& flags);

// The devices that compute a training step, at least one: those of the towers, else that of --device. Error (kUsage):
// something that is not a device name.
std::vector<DeviceSpec> devices_of(const Flags& flags);

// Samples per training step of one worker, over all its towers.
BatchSizeSchedule step_batch_sizes(const Flags& flags);

// Whether each tower applies its gradients on its own (--replication=in_graph --nosync_replicas): it is then a worker
// of a local run, with a thread and batches of its own.
bool has_independent_towers(const Flags& flags);

// The flags of that worker: its device, and its part of the batch.
Flags flags_of_independent_tower(const Flags& flags, std::size_t tower);

// Error (kUsage): flags of towers that contradict one another or miss something, devices of another task, a device
// twice.
void check_tower_flags(const Flags& flags);

}  // namespace distmnist
