#include "lib/math/instruction_set.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "lib/base/error.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace distmnist {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"portable", "avx2", "avx512", "amx"};  // in enumeration order

#if defined(__x86_64__) && defined(__linux__)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

// CPUID leaf 7: the processor has tiles, their bfloat16 product, and AVX512_BF16, with which factors are rounded. No
// processor with tiles lacks the latter, but a virtual machine could hide it; it then uses AVX-512 alone. (Compilers
// before gcc 13 have no name for tiles.)
bool processor_has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24, kAvx512Bf16 = 1u << 5;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & kAmxBf16) == 0 || (d & kAmxTile) == 0) return false;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvx512Bf16) != 0;
}

bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_amx() {
  static const bool has = has_avx512() && processor_has_amx() && may_use_tiles();
  return has;
}
#else
bool has_avx2() {
  return false;
}
bool has_avx512() {
  return false;
}
bool has_amx() {
  return false;
}
#endif

}  // namespace

InstructionSet parse_instruction_set(std::string_view name) {
  const auto found = std::ranges::find(kNames, name);
  if (found == kNames.end())
    fail(ExitCode::kUsage, "--instruction_set={}: choose auto, portable, avx2, avx512 or amx", name);
  return static_cast<InstructionSet>(found - kNames.begin());
}

std::string_view to_string(InstructionSet set) {
  return kNames[static_cast<std::size_t>(set)];
}

bool is_supported(InstructionSet set) {
  switch (set) {
    case InstructionSet::kPortable:
      return true;
    case InstructionSet::kAvx2:
      return has_avx2();
    case InstructionSet::kAvx512:
      return has_avx2() && has_avx512();
    case InstructionSet::kAmx:
      return has_avx2() && has_amx();
  }
  return false;
}

InstructionSet best_instruction_set() {
  InstructionSet best = InstructionSet::kPortable;
  for (const InstructionSet set : kInstructionSets) {
    if (is_supported(set)) best = set;
  }
  return best;
}

}  // namespace distmnist
