// InstructionSet: the instruction sets that kernels are written for, and which of them this processor has.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace distmnist {

// Each one includes all before it.
enum class InstructionSet {
  kPortable,  // the baseline that the program was compiled for
  kAvx2,      // x86-64-v3: 256-bit vectors, fused multiply-add
  kAvx512,    // x86-64-v4: 512-bit vectors and masks (F, BW, CD, DQ, VL)
  kAmx,       // also matrix tiles of bfloat16 (AMX-TILE, AMX-BF16) and AVX512_BF16
};

inline constexpr InstructionSet kInstructionSets[] = {InstructionSet::kPortable, InstructionSet::kAvx2,
                                                      InstructionSet::kAvx512, InstructionSet::kAmx};

// "portable", "avx2", "avx512", "amx". Throws Error (kUsage), which lists the known names.
InstructionSet parse_instruction_set(std::string_view name);
std::string_view to_string(InstructionSet set);

// Whether the processor and the operating system let this process use it. For AMX, this asks the kernel for the
// permission that its tiles need (Documentation/arch/x86/xstate.rst), for all present and future threads of the
// process.
bool is_supported(InstructionSet set);

// The largest supported one.
InstructionSet best_instruction_set();

}  // namespace distmnist
