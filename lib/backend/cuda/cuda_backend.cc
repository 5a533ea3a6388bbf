#include "lib/backend/cuda/cuda_backend.h"

#include <algorithm>
#include <vector>

#include "lib/backend/compile_options.h"
#include "lib/backend/cuda/cuda_executor.h"
#include "lib/backend/cuda/gpu.h"
#include "lib/backend/cuda/inspect.h"
#include "lib/backend/cuda/plan.h"
#include "lib/base/error.h"

namespace distmnist::cuda {
namespace {

// The first compute capability with products in bfloat16 and TF32.
constexpr int kTensorFloatMajor = 8;

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(std::vector<Gpu> gpus) : gpus_(std::move(gpus)) {}

  std::string name() const override { return "cuda"; }

  bool can_compute(const Layer& layer, Precision precision) const override {
    const bool rounds = precision == Precision::kBf16 || precision == Precision::kTf32;
    return (!rounds || has_tensor_floats()) && has_kernel(layer);
  }

  Precision fastest_precision() const override { return has_tensor_floats() ? Precision::kBf16 : Precision::kF32; }

  std::unique_ptr<Executor> compile(const Graph& graph, const CompileOptions& options) const override {
    check_options(graph, options);
    CompileOptions resolved = options;
    if (options.precision == Precision::kAuto) resolved.precision = fastest_precision();
    check_layers(*this, graph, resolved.precision);
    std::vector<Gpu*> gpus;
    for (Gpu& gpu : gpus_) gpus.push_back(&gpu);
    return std::make_unique<CudaExecutor>(gpus, graph, resolved);
  }

 private:
  bool has_tensor_floats() const {
    return std::ranges::all_of(gpus_, [](const Gpu& gpu) { return gpu.info.major >= kTensorFloatMajor; });
  }

  mutable std::vector<Gpu> gpus_;  // compile() changes nothing of them but the memory that is in use
};

GpuInfo usable_gpu(int index) {
  const int count = count_gpus();
  if (index < 0 || index >= count) {
    fail(ExitCode::kUsage,
         "device /gpu:{}: this process sees {} (CUDA_VISIBLE_DEVICES hides those that it does not name); use "
         "--device=/cpu:0 or --allow_soft_placement",
         index,
         count == 0   ? "no GPU"
         : count == 1 ? "one GPU, /gpu:0"
                      : fmt::format("GPUs 0 to {}", count - 1));
  }
  GpuInfo info = inspect_gpu(index);
  if (!info.fault.empty()) fail(ExitCode::kUsage, "device /gpu:{} ({}): {}", index, info.name, info.fault);
  return info;
}

// Copies go from card to card where the hardware can.
void connect(const std::vector<Gpu>& gpus) {
  for (const Gpu& from : gpus) {
    from.make_current();
    for (const Gpu& to : gpus) {
      int possible = 0;
      if (from.info.index == to.info.index) continue;
      check(cudaDeviceCanAccessPeer(&possible, from.info.index, to.info.index), "check for peer access");
      if (possible == 0) continue;
      const cudaError_t status = cudaDeviceEnablePeerAccess(to.info.index, 0);
      if (status != cudaErrorPeerAccessAlreadyEnabled) check(status, "enable peer access");
      cudaGetLastError();
    }
  }
}

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const GpuOptions& options) {
  std::vector<Gpu> gpus;
  for (const int index : options.devices) {
    Gpu gpu{usable_gpu(index), nullptr};
    gpu.memory = std::make_unique<DeviceMemory>(index, MemoryShare{options.memory_fraction, options.allow_growth});
    gpus.push_back(std::move(gpu));
  }
  if (gpus.empty()) fail(ExitCode::kUsage, "no GPU was named to compute on");
  connect(gpus);
  return std::make_unique<CudaBackend>(std::move(gpus));
}

}  // namespace distmnist::cuda
