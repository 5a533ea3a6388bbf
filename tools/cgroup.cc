#include "tools/cgroup.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace distmnist {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> out;
  std::istringstream stream(text);
  for (std::string piece; std::getline(stream, piece, separator);) out.push_back(piece);
  return out;
}

bool has(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

// A mounted cgroup hierarchy (proc(5), /proc/pid/mountinfo).
struct Hierarchy {
  bool unified = false;                  // version 2
  std::vector<std::string> controllers;  // version 1 only
  fs::path within;                       // the cgroup at the mount point
  fs::path at;
};

// "36 35 0:30 /docker/abc /sys/fs/cgroup/cpu ro,nosuid - cgroup cgroup rw,cpu,cpuacct"
std::vector<Hierarchy> mounted_hierarchies(const fs::path& root) {
  std::vector<Hierarchy> out;
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = split(line, ' ');
    const auto dash = std::ranges::find(words, "-");
    if (words.size() < 6 || words.end() - dash < 4) continue;
    const std::string& type = dash[1];
    if (type != "cgroup" && type != "cgroup2") continue;
    out.push_back({type == "cgroup2", split(dash[3], ','), words[3], words[4]});
  }
  return out;
}

// The path of this process's cgroup in a hierarchy, from "4:cpu,cpuacct:/docker/abc" or "0::/user.slice".
std::optional<fs::path> own_cgroup(const fs::path& root, const Hierarchy& hierarchy, std::string_view controller) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (hierarchy.unified ? controllers.empty() : has(split(controllers, ','), controller))
      return line.substr(second + 1);
  }
  return std::nullopt;
}

// The folders of this process's cgroup and its ancestors, as far as they are mounted.
std::vector<fs::path> folders_of(const fs::path& root, const Hierarchy& hierarchy, std::string_view controller) {
  const std::optional<fs::path> own = own_cgroup(root, hierarchy, controller);
  if (!own) return {};
  const fs::path top = root / hierarchy.at.relative_path();
  // A container may see its own cgroup mounted as the root, or a path outside of what it can see.
  const fs::path inside = own->lexically_relative(hierarchy.within);
  fs::path folder = top;
  std::vector<fs::path> folders = {folder};
  for (const fs::path& part : inside) {
    if (part == "..") return {top};
    if (part != ".") folders.push_back(folder /= part);
  }
  return folders;
}

// The first words of a file, such as "max 100000"; empty if it cannot be read.
std::vector<std::string> words_of(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return split(line, ' ');
}

std::optional<double> number(const std::vector<std::string>& words, std::size_t index) {
  if (index >= words.size()) return std::nullopt;
  double value = 0;
  std::istringstream stream(words[index]);
  return stream >> value && value > 0 ? std::optional(value) : std::nullopt;  // "max" and -1 mean no limit
}

std::optional<double> cpus_of(const fs::path& folder, bool unified) {
  const std::vector<std::string> quota_words = words_of(folder / (unified ? "cpu.max" : "cpu.cfs_quota_us"));
  const auto quota = number(quota_words, 0);
  const auto period = unified ? number(quota_words, 1) : number(words_of(folder / "cpu.cfs_period_us"), 0);
  return quota && period ? std::optional(*quota / *period) : std::nullopt;
}

template <typename T>
void tighten(std::optional<T>& limit, std::optional<double> other) {
  if (other && (!limit || static_cast<T>(*other) < *limit)) limit = static_cast<T>(*other);
}

}  // namespace

CgroupLimits read_cgroup_limits(const fs::path& root) {
  CgroupLimits limits;
  for (const Hierarchy& hierarchy : mounted_hierarchies(root)) {
    const auto controls = [&](std::string_view name) { return hierarchy.unified || has(hierarchy.controllers, name); };
    if (controls("cpu")) {
      for (const fs::path& folder : folders_of(root, hierarchy, "cpu")) {
        tighten(limits.cpus, cpus_of(folder, hierarchy.unified));
      }
    }
    if (controls("pids")) {
      for (const fs::path& folder : folders_of(root, hierarchy, "pids")) {
        tighten(limits.threads, number(words_of(folder / "pids.max"), 0));
      }
    }
  }
  return limits;
}

}  // namespace distmnist
