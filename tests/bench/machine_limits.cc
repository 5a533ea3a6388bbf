#include "tests/bench/machine_limits.h"

#include <algorithm>
#include <ctime>
#include <numeric>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/thread_pool.h"

namespace distmnist {
namespace {

struct LimitLoops {
  double flops_per_round;
  float (*multiply_add)(std::int64_t rounds);
  float (*read)(const float* from, std::int64_t size);
};

}  // namespace
}  // namespace distmnist

#define DISTMNIST_LIMITS portable_limits
#define DISTMNIST_LANES 4
#include "tests/bench/machine_limits.inl"
#undef DISTMNIST_LIMITS
#undef DISTMNIST_LANES

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define DISTMNIST_LIMITS avx2_limits
#define DISTMNIST_LANES 8
#include "tests/bench/machine_limits.inl"
#undef DISTMNIST_LIMITS
#undef DISTMNIST_LANES
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
#define DISTMNIST_LIMITS avx512_limits
#define DISTMNIST_LANES 16
#include "tests/bench/machine_limits.inl"
#undef DISTMNIST_LIMITS
#undef DISTMNIST_LANES
#pragma GCC pop_options
#endif

namespace distmnist {
namespace {

const LimitLoops& loops_of([[maybe_unused]] InstructionSet set) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAvx2) return avx2_limits::kLoops;
  if (set == InstructionSet::kAvx512 || set == InstructionSet::kAmx) return avx512_limits::kLoops;
#endif
  return portable_limits::kLoops;
}

// Prevents the compiler from removing an unused result.
void use(float result) {
  asm volatile("" : : "g"(result) : "memory");
}

}  // namespace

double thread_cpu_s() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double peak_flops_per_s(InstructionSet set, int threads) {
  constexpr std::int64_t kRounds = 2'000'000;
  constexpr int kPasses = 8;  // the best one counts: clock rates rise, and other processes disturb
  const LimitLoops& loops = loops_of(set);
  std::vector<double> best(static_cast<std::size_t>(threads));
  ThreadPool pool(threads);
  for (int pass = 0; pass < kPasses; ++pass) {
    pool.run([&](int part) {
      const double before_s = thread_cpu_s();
      use(loops.multiply_add(kRounds));
      double& rate = best[static_cast<std::size_t>(part)];
      rate = std::max(rate, static_cast<double>(kRounds) * loops.flops_per_round / (thread_cpu_s() - before_s));
    });
  }
  return std::reduce(best.begin(), best.end());
}

double read_bytes_per_s(std::int64_t size_bytes, int threads) {
  constexpr std::int64_t kLeastBytes = 512 << 20;  // per pass, so that it takes milliseconds
  constexpr int kPasses = 6;
  const LimitLoops& loops = loops_of(best_instruction_set());
  const std::int64_t size = size_bytes / static_cast<std::int64_t>(sizeof(float));
  const std::int64_t repeats = std::max<std::int64_t>(1, kLeastBytes / size_bytes);
  const std::vector<float> block(static_cast<std::size_t>(size), 1.0f);
  ThreadPool pool(threads);
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const double before_s = monotonic_s();
    pool.run([&](int part) {
      const Share share = share_of(size, part, threads, 128);
      for (std::int64_t i = 0; i < repeats; ++i) use(loops.read(block.data() + share.begin, share.size()));
    });
    best = std::max(best, static_cast<double>(repeats * size_bytes) / (monotonic_s() - before_s));
  }
  return best;
}

}  // namespace distmnist
