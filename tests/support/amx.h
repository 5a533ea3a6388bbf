// The AMX kernels under test, which compute with the tile instructions or with loops that give the same bits.
#pragma once

#include <vector>

#include "lib/backend/cpu/builtin/amx/amx_kernels.h"
#include "tests/support/instruction_sets.h"

namespace distmnist {

// The kernels with loops, and those with instructions if the processor supports them.
inline std::vector<const cpu::AmxKernels*> amx_kernels_under_test() {
  std::vector<const cpu::AmxKernels*> kernels;
  if (!only_instruction_set()) kernels.push_back(&cpu::emulated_amx_kernels());
  if (is_supported(InstructionSet::kAmx)) kernels.push_back(&cpu::amx_kernels());
  return kernels;
}

}  // namespace distmnist
