// How long the ps takes to apply one update to the MNIST CNN's block, beside a plain copy of as many bytes: the limit
// of memory. A ratio of 1 is the best there is.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/optim/optimizer.h"

namespace distmnist {
namespace {

constexpr std::size_t kFloats = 1'625'606;
constexpr int kRepeats = 200;

// The median time of one call, after a warm-up.
double median_ms(const std::function<void()>& call) {
  for (int i = 0; i < 10; ++i) call();
  std::vector<double> times(kRepeats);
  for (double& time : times) {
    const double start = monotonic_s();
    call();
    time = 1e3 * (monotonic_s() - start);
  }
  std::nth_element(times.begin(), times.begin() + kRepeats / 2, times.end());
  return times[kRepeats / 2];
}

// Parameters, gradient and slots are read; parameters, slots and the reply (over the gradient) are written.
double bytes_moved(OptimizerKind kind) {
  return static_cast<double>(kFloats * sizeof(float) * (4 + 2 * slot_names(kind).size()));
}

void measure(OptimizerKind kind) {
  const OptimizerSpec spec = default_optimizer(kind);
  std::vector<float> parameters(kFloats, 0.5f);
  std::vector<float> gradient(kFloats, 1e-3f);
  std::vector<std::vector<float>> slot_blocks(slot_names(kind).size(), std::vector<float>(kFloats, 1e-6f));
  const std::vector<std::span<float>> slots(slot_blocks.begin(), slot_blocks.end());
  std::int64_t t = 0;
  const auto apply_ms = [&](auto apply) {
    return median_ms([&] { apply(spec, ++t, parameters, slots, gradient, gradient, 1.0f); });
  };
  const double fast_ms = apply_ms(apply_update);
  const double portable_ms = apply_ms(apply_update_portable);

  // A copy reads and writes each byte once.
  std::vector<char> from(static_cast<std::size_t>(bytes_moved(kind)) / 2, 1), to(from.size());
  const double copy_ms = median_ms([&] { std::memcpy(to.data(), from.data(), from.size()); });
  const std::string name(to_string(kind));
  std::printf("%-9s %7.3f ms %7.1f GB/s   memcpy %7.3f ms   ratio %.2f   portable %7.3f ms\n", name.c_str(), fast_ms,
              bytes_moved(kind) / fast_ms / 1e6, copy_ms, fast_ms / copy_ms, portable_ms);
}

}  // namespace
}  // namespace distmnist

int main() {
  using namespace distmnist;
  std::printf("apply of one update to %zu floats, median of %d\n", kFloats, kRepeats);
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kMomentum, OptimizerKind::kAdam,
                                   OptimizerKind::kAdagrad, OptimizerKind::kRmsprop}) {
    measure(kind);
  }
}
