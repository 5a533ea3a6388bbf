// CPU info: a description of the host's processor for the user.
#pragma once

#include <string>
#include <vector>

namespace distmnist {

struct CpuInfo {
  std::string name;                           // "Intel(R) Xeon(R) Gold 6430"; "processor" if unknown
  std::vector<std::string> instruction_sets;  // those that speed up matrix products: "AVX2", "AVX512F", "AMX_BF16"
};

// Parses the text of /proc/cpuinfo (the first processor), x86 or ARM.
CpuInfo parse_cpu_info(const std::string& text);

// The CpuInfo of this host.
CpuInfo read_cpu_info();

}  // namespace distmnist
