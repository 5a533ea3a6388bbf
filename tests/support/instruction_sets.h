// The instruction sets that tests use.
#pragma once

#include <cstdlib>
#include <optional>
#include <vector>

#include "lib/base/error.h"
#include "lib/math/instruction_set.h"

namespace distmnist {

// Only the set in $DISTMNIST_TEST_INSTRUCTION_SET: on an emulated processor the other sets would take minutes and show
// nothing new. Throws an Error if the processor does not support it.
inline std::optional<InstructionSet> only_instruction_set() {
  const char* name = std::getenv("DISTMNIST_TEST_INSTRUCTION_SET");
  if (name == nullptr) return std::nullopt;
  const InstructionSet set = parse_instruction_set(name);
  if (!is_supported(set))
    fail(ExitCode::kUsage, "DISTMNIST_TEST_INSTRUCTION_SET={}: this processor has no {}", name, name);
  return set;
}

// That set, or all sets of this processor.
inline std::vector<InstructionSet> instruction_sets_under_test() {
  if (const auto only = only_instruction_set()) return {*only};
  std::vector<InstructionSet> sets;
  for (const InstructionSet set : kInstructionSets) {
    if (is_supported(set)) sets.push_back(set);
  }
  return sets;
}

}  // namespace distmnist
