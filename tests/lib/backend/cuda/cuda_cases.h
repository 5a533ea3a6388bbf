// What the CUDA backend has to do, on whatever executes it: a GPU, or CUDA's stand-in on the host. Each of the two test
// programs that link cuda_cases.cc says here what that is.
#pragma once

#include <memory>

#include "lib/backend/backend.h"

namespace distmnist {

std::unique_ptr<Backend> make_backend_under_test(const GpuOptions& options = {});
int num_devices_under_test();

}  // namespace distmnist
