#include "lib/math/mean.h"

#include <cassert>
#include <cstddef>

#include "lib/math/simd.h"

namespace distmnist {

DISTMNIST_VERSIONS void add_f32(std::span<const float> addend, std::span<float> sum) {
  assert(addend.size() == sum.size());
  const float* const from = addend.data();
  float* const to = sum.data();
  const std::size_t size = sum.size();
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) to[i] += from[i];
}

DISTMNIST_VERSIONS void divide(std::span<float> sum, float count) {
  float* const to = sum.data();
  const std::size_t size = sum.size();
  DISTMNIST_INDEPENDENT_ITERATIONS
  for (std::size_t i = 0; i < size; ++i) to[i] /= count;
}

}  // namespace distmnist
