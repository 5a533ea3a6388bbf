// Orders of work by chance, as many as make a missing order show.
#pragma once

#include <cstdint>

#include "tests/support/cuda_on_host/control.h"

namespace cuda_on_host {

inline constexpr std::uint64_t kSeeds = 24;

// How many of the orders by chance make `outcome` true.
template <typename Outcome>
std::uint64_t count_seeds(const Outcome& outcome) {
  std::uint64_t count = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    reset({.seed = seed});
    count += outcome() ? 1 : 0;
  }
  return count;
}

}  // namespace cuda_on_host
