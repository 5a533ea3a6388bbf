// The kernels in AMX's tiles that this machine can run.
#pragma once

#include <vector>

#include "lib/backend/cpu/amx/amx_kernels.h"

namespace distmnist {

// Those of loops, and those of instructions where the processor has them.
inline std::vector<const cpu::AmxKernels*> amx_kernels_under_test() {
  std::vector<const cpu::AmxKernels*> kernels = {&cpu::emulated_amx_kernels()};
  if (is_supported(InstructionSet::kAmx)) kernels.push_back(&cpu::amx_kernels());
  return kernels;
}

}  // namespace distmnist
