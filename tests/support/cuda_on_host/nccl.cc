// NCCL for the simulated GPUs: compiled instead of lib/backend/cuda/nccl.cc, which would open the real library.
#include "lib/backend/cuda/nccl.h"

#include <utility>

#include "lib/base/error.h"
#include "tests/support/cuda_on_host/state.h"

namespace distmnist::cuda {
namespace {

using namespace cuda_on_host;

struct Call {
  float* numbers = nullptr;
  std::size_t count = 0;
  cudaStream_t stream = nullptr;
};

void sum_all(const std::vector<Call>& calls) {
  for (std::size_t i = 0; i < calls[0].count; ++i) {
    float sum = 0;
    for (const Call& call : calls) sum += call.numbers[i];
    for (const Call& call : calls) call.numbers[i] = sum;
  }
}

class SimulatedNccl final : public Nccl {
 public:
  explicit SimulatedNccl(std::vector<int> devices) : devices_(std::move(devices)) {}

  std::string version() const override { return "2.0.0"; }
  void begin() override { calls_.assign(devices_.size(), {}); }

  void sum(std::size_t rank, float* numbers, std::int64_t count, cudaStream_t stream) override {
    const std::lock_guard lock(mutex());
    const Call call{numbers, static_cast<std::size_t>(count), resolve(stream)};
    const bool fits = call.stream != nullptr && call.stream->device == devices_.at(rank) && !call.stream->capture &&
                      is_device_range(numbers, call.count * sizeof(float)) && device_of(numbers) == devices_[rank];
    if (!fits) fail(ExitCode::kInternal, "NCCL: rank {} has numbers or a stream of another device", rank);
    calls_.at(rank) = call;
  }

  // Every device's stream reaches its call before the sum is computed, and continues after it.
  void end() override {
    const std::lock_guard lock(mutex());
    for (const Call& call : calls_) {
      if (call.stream == nullptr || call.count != calls_[0].count) {
        fail(ExitCode::kInternal, "NCCL: not all of {} devices sum {} numbers", calls_.size(), calls_[0].count);
      }
    }
    cudaStream_t first = calls_[0].stream;
    DeviceSet devices = 0;
    for (const Call& call : calls_) {
      devices |= DeviceSet{1} << call.stream->device;
      enqueue(call.stream, 0, [] {});
      first->waits.push_back(call.stream->last);
    }
    enqueue(first, devices, [calls = calls_] { sum_all(calls); });
    for (const Call& call : calls_) {
      if (call.stream == first) continue;
      call.stream->waits.push_back(first->last);
      enqueue(call.stream, 0, [] {});
    }
    calls_.clear();
  }

 private:
  std::vector<int> devices_;
  std::vector<Call> calls_;
};

}  // namespace

std::unique_ptr<Nccl> Nccl::open(const std::vector<int>& devices) {
  const std::lock_guard lock(mutex());
  return state().settings.nccl ? std::make_unique<SimulatedNccl>(devices) : nullptr;
}

}  // namespace distmnist::cuda
