// Device placement: the device of each part of a run, for --log_device_placement. The lines have the form of TensorFlow
// 1.x, with one operation per variable and several per layer.
#pragma once

#include <string>
#include <vector>

#include "lib/base/device_spec.h"
#include "lib/cluster/placement.h"
#include "lib/graph/graph.h"

namespace distmnist {

// Returns lines like "conv1/Conv2D: (Conv2D): /job:worker/replica:0/task:0/device:GPU:0": one for each variable, then
// one for each operation of each layer, for the loss, and for the gradients from the last layer to the first.
//
// `devices` (at least one) compute a step; each has a job, replica and task. If there are several, each is a tower
// ("tower_1/..."). `plan` says which ps task holds which parameters; a variable in several pieces has a line for each
// ("conv1/weights/part_0"). Without a plan, the variables are on the first device, and global_step, a number on the
// host, is on the CPU of that device's task.
std::vector<std::string> device_placement(const Graph& graph, const std::vector<DeviceSpec>& devices,
                                          const PlacementPlan& plan);

}  // namespace distmnist
