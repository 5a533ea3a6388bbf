// The vector kernels under test: those of every instruction set under test, and wide_kernels.cc.
#pragma once

#include <string>
#include <vector>

#include "lib/backend/cpu/builtin/vector/vector_kernels.h"
#include "tests/support/instruction_sets.h"

namespace distmnist::cpu {

namespace wide {
extern const VectorKernels kVectorKernels;
}

struct KernelSet {
  std::string name;
  const VectorKernels& kernels;
};

inline std::vector<KernelSet> kernel_sets() {
  std::vector<KernelSet> sets;
  if (!only_instruction_set()) sets.push_back({"the shape of AVX-512, portable", wide::kVectorKernels});
  for (const InstructionSet set : instruction_sets_under_test()) {
    sets.push_back({std::string(to_string(set)), vector_kernels(set)});
  }
  return sets;
}

}  // namespace distmnist::cpu
