// Inspection: finds the GPUs, the driver and the libraries.
#pragma once

#include "lib/backend/gpu_system.h"

namespace distmnist::cuda {

// The number of GPUs visible to this process; 0 without a driver.
int count_gpus();
// 0 <= index < count_gpus(). Opens a context on the GPU only if there is no other source for its free memory.
GpuInfo inspect_gpu(int index);

}  // namespace distmnist::cuda
