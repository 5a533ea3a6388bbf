// What the cpu backend may compute with on this processor.
#pragma once

#include <string>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/math/instruction_set.h"

namespace distmnist {

// Our own kernels in every instruction set that the processor has, and oneDNN alone.
inline std::vector<CpuOptions> cpu_tiers() {
  std::vector<CpuOptions> tiers = {{.instruction_set = {}, .own_kernels = false}};
  for (const InstructionSet set : kInstructionSets) {
    if (is_supported(set)) tiers.push_back({.instruction_set = set, .own_kernels = true});
  }
  return tiers;
}

inline std::string name_of(const CpuOptions& tier) {
  return tier.own_kernels ? "own kernels, " + std::string(to_string(*tier.instruction_set)) : "oneDNN alone";
}

}  // namespace distmnist
