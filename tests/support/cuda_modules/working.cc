// A module that answers like the CUDA module on a machine with a GPU. Its backend cannot compile graphs.
#include "lib/backend/cuda/module.h"
#include "lib/backend/module_abi.h"

namespace {

class StandInBackend final : public distmnist::Backend {
 public:
  std::string name() const override { return "stand-in"; }
  bool can_compute(const distmnist::Layer&, distmnist::Precision) const override { return false; }
  std::unique_ptr<distmnist::Executor> compile(const distmnist::Graph&,
                                               const distmnist::CompileOptions&) const override {
    return nullptr;
  }
};

}  // namespace

extern "C" const distmnist::CudaModule* distmnist_cuda_module() {
  static const distmnist::CudaModule module{
      .abi_version = distmnist::kCudaModuleAbi,
      .inspect = +[] { return distmnist::GpuSystem{.fault = "a stand-in"}; },
      .make_backend = +[](const distmnist::GpuOptions&) -> distmnist::Backend* { return new StandInBackend; }};
  return &module;
}
