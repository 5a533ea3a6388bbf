// What the host's processor is, for people.
#pragma once

#include <string>
#include <vector>

namespace distmnist {

struct CpuInfo {
  std::string name;                           // "Intel(R) Xeon(R) Gold 6430"; "processor" where it has none
  std::vector<std::string> instruction_sets;  // those that make matrix products faster: "AVX2", "AVX512F", "AMX_BF16"
};

// Reads the text of /proc/cpuinfo (its first processor), x86 or ARM.
CpuInfo parse_cpu_info(const std::string& text);

// Of this host.
CpuInfo read_cpu_info();

}  // namespace distmnist
