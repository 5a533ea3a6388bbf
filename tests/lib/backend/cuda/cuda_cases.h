// The tests that the CUDA backend must pass, on a GPU or on CUDA's stand-in on the host. Each of the two test programs
// that link cuda_cases.cc defines here which of them it uses.
#pragma once

#include <memory>

#include "lib/backend/backend.h"

namespace distmnist {

std::unique_ptr<Backend> make_backend_under_test(const GpuOptions& options = {});
int num_devices_under_test();

}  // namespace distmnist
