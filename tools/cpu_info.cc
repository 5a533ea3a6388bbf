#include "tools/cpu_info.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <sstream>
#include <string_view>

namespace distmnist {
namespace {

// The instruction sets that are shown, in the kernel's spelling.
constexpr std::array<std::string_view, 14> kKnownFlags = {
    "sse4_2",      "avx",         "fma",      "avx2",     "avx_vnni", "avx512f", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd",    "bf16",    "sve"};

// The value in the first line "key   : value"; empty if there is none.
std::string value_of(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(':');
    if (!line.starts_with(key) || colon == std::string::npos) continue;
    if (line.find_first_not_of(" \t", key.size()) != colon) continue;
    const std::size_t begin = line.find_first_not_of(' ', colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return {};
}

std::string upper(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

}  // namespace

CpuInfo parse_cpu_info(const std::string& text) {
  CpuInfo info{.name = value_of(text, "model name"), .instruction_sets = {}};
  if (info.name.empty()) info.name = "processor";
  std::istringstream flags(value_of(text, "flags") + " " + value_of(text, "Features"));
  std::vector<std::string> present;
  for (std::string flag; flags >> flag;) present.push_back(flag);
  for (const std::string_view each : kKnownFlags) {
    if (std::ranges::find(present, each) != present.end()) info.instruction_sets.push_back(upper(each));
  }
  return info;
}

CpuInfo read_cpu_info() {
  std::ifstream file("/proc/cpuinfo");
  std::ostringstream text;
  text << file.rdbuf();
  return parse_cpu_info(text.str());
}

}  // namespace distmnist
