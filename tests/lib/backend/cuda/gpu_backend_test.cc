// Runs the CUDA module on this machine's GPUs. Without a GPU the test is skipped (exit code 77, which meson counts).
#include <cstdio>

#include "lib/backend/cuda/loader.h"
#include "tests/lib/backend/cuda/cuda_cases.h"
#include "tests/support/catch_session.h"

namespace distmnist {

std::unique_ptr<Backend> make_backend_under_test(const GpuOptions& options) {
  return make_backend("gpu", DISTMNIST_MODULE_FOLDER, options);
}

int num_devices_under_test() {
  return static_cast<int>(load_cuda_module(DISTMNIST_MODULE_FOLDER).inspect().gpus.size());
}

}  // namespace distmnist

int main(int argc, char** argv) {
  const distmnist::GpuSystem system = distmnist::load_cuda_module(DISTMNIST_MODULE_FOLDER).inspect();
  if (system.gpus.empty()) {
    std::printf("skipped: there is no GPU (%s)\n", system.fault.c_str());
    return 77;
  }
  return Catch::Session().run(argc, argv);
}
