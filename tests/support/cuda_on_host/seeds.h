// Random orders of work, enough to show that a required order is missing.
#pragma once

#include <cstdint>

#include "tests/support/cuda_on_host/control.h"

namespace cuda_on_host {

inline constexpr std::uint64_t kSeeds = 24;

// The number of random orders in which `outcome` is true.
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
