// A module that simulates three GPUs, the third of which is too old. They compute with the reference backend, so /gpu:0
// and /gpu:1 can train. They have no kernels for dropout and tf32. Use tests/support/cuda_on_host to test CUDA code;
// this module is for tests of device selection.
#include <algorithm>

#include "lib/backend/compile_options.h"
#include "lib/backend/cuda/module.h"
#include "lib/backend/module_abi.h"
#include "lib/backend/reference/reference_backend.h"
#include "lib/base/error.h"

namespace {

using namespace distmnist;

// The share of each card's memory that backends can use; the rest is in use by other processes.
constexpr double kFreeShare = 0.9;
double taken[2] = {};

class MadeUpBackend final : public Backend {
 public:
  explicit MadeUpBackend(const GpuOptions& options) : options_(options) {
    for (const int device : options.devices) {
      if (taken[device] + share() > kFreeShare)
        fail(ExitCode::kResources, "a share of {} of the memory is not free", share());
    }
    for (const int device : options.devices) taken[device] += share();
  }
  ~MadeUpBackend() override {
    for (const int device : options_.devices) taken[device] -= share();
  }
  std::string name() const override { return "made-up"; }
  bool can_compute(const Layer& layer, Precision precision) const override {
    return !std::holds_alternative<Dropout>(layer) && precision != Precision::kTf32;
  }
  std::unique_ptr<Executor> compile(const Graph& graph, const CompileOptions& options) const override {
    check_layers(*this, graph, options.precision);
    CompileOptions own = options;
    own.precision = Precision::kF32;
    return reference_->compile(graph, own);
  }

 private:
  double share() const { return options_.memory_fraction.value_or(0); }

  GpuOptions options_;
  std::unique_ptr<Backend> reference_ = make_reference_backend();
};

GpuSystem inspect() {
  const auto card = [](int index, const char* name, int major, const char* bus, const char* fault) {
    return GpuInfo{.index = index,
                   .name = name,
                   .major = major,
                   .memory_clock_ghz = 1.5,
                   .pci_bus_id = bus,
                   .total_bytes = 16'000'000'000,
                   .free_bytes = 15'000'000'000,
                   .multiprocessors = 20,
                   .fault = fault};
  };
  return {.driver_version = "13.1",
          .runtime_version = "13.0",
          .built_for = {"sm_80", "compute_80"},
          .libraries = {{"libmadeup.so.1", "1.2.3"}},
          .gpus = {card(0, "Made-up 8", 8, "0000:02:00.0", ""), card(1, "Made-up 9", 9, "0000:03:00.0", ""),
                   card(2, "Made-up 6", 6, "0000:04:00.0", "built for 8.0 and newer, this card has 6.0")},
          .peers = {{true, false, false}, {false, true, false}, {false, false, true}}};
}

Backend* make_backend(const GpuOptions& options) {
  if (std::ranges::max(options.devices) > 1) fail(ExitCode::kUsage, "the caller was to see what is there");
  return new MadeUpBackend(options);
}

}  // namespace

extern "C" const distmnist::CudaModule* distmnist_cuda_module() {
  static const CudaModule module{.abi_version = kCudaModuleAbi, .inspect = inspect, .make_backend = make_backend};
  return &module;
}
