// What there is: GPUs, driver, libraries.
#pragma once

#include "lib/backend/gpu_system.h"

namespace distmnist::cuda {

// GPUs that this process sees; 0 without a driver.
int count_gpus();
// 0 <= index < count_gpus(). Opens a context on the GPU only where nobody else tells its free memory.
GpuInfo inspect_gpu(int index);

}  // namespace distmnist::cuda
