// From --device, --devices and --num_gpus to what computes.
#pragma once

#include <memory>

#include "lib/backend/backend.h"
#include "tools/flags.h"

namespace distmnist {

// The backend of --device, /cpu:0 by default. Error (kUsage): a device that is not a device name, or that is not here.
std::unique_ptr<Backend> make_device_backend(const Flags& flags);

// What computes the training steps: one executor, or a tower on each of the devices. The options are the worker's: its
// towers share max_batch_size and threads. Error (kUsage) as above.
std::unique_ptr<Executor> make_executor(const Flags& flags, const Graph& graph, const CompileOptions& options);

}  // namespace distmnist
