// The variants of the cpu backend that this processor can run.
#pragma once

#include <string>
#include <vector>

#include "lib/backend/backend.h"
#include "tests/support/instruction_sets.h"

namespace distmnist {

// Our kernels in every instruction set under test, and oneDNN alone.
inline std::vector<CpuOptions> cpu_tiers() {
  std::vector<CpuOptions> tiers;
  if (!only_instruction_set()) tiers.push_back({.instruction_set = {}, .builtin_kernels = false});
  for (const InstructionSet set : instruction_sets_under_test()) {
    tiers.push_back({.instruction_set = set, .builtin_kernels = true});
  }
  return tiers;
}

inline std::string name_of(const CpuOptions& tier) {
  return tier.builtin_kernels ? "built-in kernels, " + std::string(to_string(*tier.instruction_set)) : "oneDNN alone";
}

}  // namespace distmnist
