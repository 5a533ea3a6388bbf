// The kernels in AMX's tiles under test.
#pragma once

#include <vector>

#include "lib/backend/cpu/builtin/amx/amx_kernels.h"
#include "tests/support/instruction_sets.h"

namespace distmnist {

// Those of loops, and those of instructions where the processor has them.
inline std::vector<const cpu::AmxKernels*> amx_kernels_under_test() {
  std::vector<const cpu::AmxKernels*> kernels;
  if (!only_instruction_set()) kernels.push_back(&cpu::emulated_amx_kernels());
  if (is_supported(InstructionSet::kAmx)) kernels.push_back(&cpu::amx_kernels());
  return kernels;
}

}  // namespace distmnist
