// Which device each part of a run is on, for --log_device_placement: lines as of TensorFlow 1.x, which has an operation
// for every variable and several for a layer.
#pragma once

#include <string>
#include <vector>

#include "lib/base/device_spec.h"
#include "lib/cluster/placement.h"
#include "lib/graph/graph.h"

namespace distmnist {

// "conv1/Conv2D: (Conv2D): /job:worker/replica:0/task:0/device:GPU:0": a line for each variable, then for each
// operation of each layer, for the loss, and for the gradients from the last layer to the first one.
//
// `devices` compute a step, at least one, with their job, replica and task; of several each is a tower ("tower_1/...").
// `plan` says which ps task holds what; a variable in several pieces has a line for each ("conv1/weights/part_0").
// Without a plan the variables are on the first device, and global_step, a number of the host, is on its task's CPU.
std::vector<std::string> device_placement(const Graph& graph, const std::vector<DeviceSpec>& devices,
                                          const PlacementPlan& plan);

}  // namespace distmnist
