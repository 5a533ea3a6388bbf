#include "lib/math/instruction_set.h"

#include <fstream>
#include <sstream>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

namespace distmnist {
namespace {

// True if the kernel's list of processor features contains all of these.
bool kernel_lists(std::initializer_list<const char*> flags) {
  std::ifstream file("/proc/cpuinfo");
  std::ostringstream text;
  text << file.rdbuf();
  for (const char* flag : flags) {
    if (text.str().find(std::string(" ") + flag) == std::string::npos) return false;
  }
  return true;
}

TEST_CASE("names of instruction sets are read and printed in the same spelling") {
  for (const InstructionSet set : kInstructionSets) CHECK(parse_instruction_set(to_string(set)) == set);
  CHECK_THROWS_AS(parse_instruction_set("sse9"), Error);
}

TEST_CASE("the supported sets match the kernel's list") {
  CHECK(is_supported(InstructionSet::kPortable));
#if defined(__x86_64__)
  CHECK(is_supported(InstructionSet::kAvx2) == kernel_lists({"avx2", "fma", "bmi2"}));
  CHECK(is_supported(InstructionSet::kAvx512) ==
        kernel_lists({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}));
  if (is_supported(InstructionSet::kAmx)) CHECK(kernel_lists({"amx_tile", "amx_bf16", "avx512_bf16"}));
#endif
  CHECK(is_supported(best_instruction_set()));
}

}  // namespace
}  // namespace distmnist
