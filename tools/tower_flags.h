// Tower flags: which devices share a training step, and the size of its batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lib/base/device_spec.h"
#include "tools/flags.h"

namespace distmnist {

// Whether --devices or --num_gpus is given; each of these devices is then a tower.
bool has_towers(const Flags& flags);

// The devices that compute a training step, at least one: those of the towers, else that of --device. Error (kUsage)
// for an invalid device name.
std::vector<DeviceSpec> devices_of(const Flags& flags);

// Samples per training step of one worker, summed over its towers.
BatchSizeSchedule step_batch_sizes(const Flags& flags);

// Whether each tower applies its gradients on its own (--replication=in_graph --nosync_replicas). Each tower is then a
// worker of a local run, with its own thread and batches.
bool has_independent_towers(const Flags& flags);

// The flags of that worker: its device and its part of the batch.
Flags flags_of_independent_tower(const Flags& flags, std::size_t tower);

// Error (kUsage): tower flags that conflict or are incomplete, devices of a different task, or a duplicate device.
void check_tower_flags(const Flags& flags);

}  // namespace distmnist
