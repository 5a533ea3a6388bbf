// The limits for one instruction set, in a separate namespace. As with lib/backend/cpu/builtin/vector/kernels.inl, the
// file that includes this one has selected the instructions for the compiler and defines
//   DISTMNIST_LIMITS  the namespace
//   DISTMNIST_LANES   the number of floats per vector

namespace distmnist::DISTMNIST_LIMITS {
namespace {

constexpr int kLanes = DISTMNIST_LANES;
using Vec = float __attribute__((vector_size(kLanes * sizeof(float))));

inline float sum(Vec v) {
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += v[i];
  return total;
}

// Independent chains of multiply-adds in registers. Their number hides the latency, and they fit in the sixteen
// registers of most instruction sets.
constexpr int kChains = 12;
constexpr double kFlopsPerRound = 2.0 * kChains * kLanes;

float multiply_add(std::int64_t rounds) {
  const Vec factor = Vec{} + 0.5f, term = Vec{} + 1.0f;
  Vec chains[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) chains[i] = Vec{} + static_cast<float>(i);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) chains[i] = chains[i] * factor + term;
  }
  float total = 0;
  for (int i = 0; i < kChains; ++i) total += sum(chains[i]);
  return total;
}

// The sum of numbers in memory; `size` is a multiple of a few vectors.
float read(const float* from, std::int64_t size) {
  constexpr int kStreams = 8;
  Vec sums[kStreams] = {};
  for (std::int64_t at = 0; at + kStreams * kLanes <= size; at += kStreams * kLanes) {
#pragma GCC unroll 8
    for (int i = 0; i < kStreams; ++i) {
      Vec v;
      __builtin_memcpy(&v, from + at + i * kLanes, sizeof v);
      sums[i] += v;
    }
  }
  float total = 0;
  for (int i = 0; i < kStreams; ++i) total += sum(sums[i]);
  return total;
}

constexpr LimitLoops kLoops = {kFlopsPerRound, multiply_add, read};

}  // namespace
}  // namespace distmnist::DISTMNIST_LIMITS
