#include "tools/cpu_info.h"

#include "tests/support/catch.h"

using namespace distmnist;

using Names = std::vector<std::string>;

TEST_CASE("the processor's name and the relevant instruction sets are read") {
  const CpuInfo info = parse_cpu_info(
      "processor\t: 0\nmodel\t\t: 143\nmodel name\t: Some CPU @ 2.00GHz\n"
      "flags\t\t: fpu sse4_2 avx512f fma avx2 avx512_bf16 avx512_bf16x\n\nprocessor\t: 1\nflags\t\t: amx_bf16\n");
  CHECK(info.name == "Some CPU @ 2.00GHz");
  CHECK(info.instruction_sets == Names{"SSE4_2", "FMA", "AVX2", "AVX512F", "AVX512_BF16"});
}

TEST_CASE("ARM processors use the key Features and may have no name") {
  const CpuInfo info = parse_cpu_info("processor\t: 0\nFeatures\t: fp asimd sve bf16\n");
  CHECK(info.name == "processor");
  CHECK(info.instruction_sets == Names{"ASIMD", "BF16", "SVE"});
}

TEST_CASE("a text without these entries is not an error") {
  CHECK(parse_cpu_info("").instruction_sets.empty());
}
