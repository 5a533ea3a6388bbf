#include "tools/environment.h"

#include <pwd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "lib/backend/compile_options.h"
#include "lib/base/error.h"
#include "tools/cgroup.h"
#include "tools/pinning.h"

namespace distmnist {

namespace fs = std::filesystem;

namespace {

// Iterations of libgomp's waiting loop, about ten microseconds: longer than the gaps between undisturbed
// kernels.
constexpr const char* kSpinCount = "1000";

}  // namespace

fs::path home_folder() {
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') return home;
  const passwd* const user = getpwuid(getuid());
  return user != nullptr && user->pw_dir != nullptr && *user->pw_dir == '/' ? user->pw_dir : "";
}

std::optional<fs::path> cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return fs::path(cache) / "distmnist";
  const fs::path home = home_folder();
  if (home.empty()) return std::nullopt;
  return home / ".cache" / "distmnist";
}

fs::path program_folder() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path() : program.parent_path();
}

fs::path cuda_module_folder() {
  return (program_folder() / "../lib").lexically_normal();
}

bool may_have_gpu() {
  // The device files of the Linux driver, and of the driver for Linux inside Windows.
  std::error_code ignored;
  if (!fs::exists("/dev/nvidiactl", ignored) && !fs::exists("/dev/dxg", ignored)) return false;
  return !hides_all_gpus(std::getenv("CUDA_VISIBLE_DEVICES"));
}

bool hides_all_gpus(const char* visible_devices) {
  if (visible_devices == nullptr) return false;
  const std::string_view first = visible_devices;
  return first.empty() || first.substr(0, first.find(',')) == "-1";
}

bool has_tf_config() {
  const char* const text = std::getenv("TF_CONFIG");
  return text != nullptr && *text != '\0';
}

fs::path find_script(const std::string& name) {
  const fs::path here = program_folder();
  // Installed: <prefix>/bin and <prefix>/share/distmnist. Built: <source>/build/tools and <source>/tools.
  for (const fs::path& folder : {here / "../share/distmnist", here / "../../tools"}) {
    std::error_code error;
    const fs::path script = fs::weakly_canonical(folder / name, error);
    if (!error && fs::exists(script)) return script;
  }
  fail(ExitCode::kUsage, "{} is neither installed beside {} nor in its source tree; install distmnist again", name,
       here.string());
}

int num_cores() {
  static const int cores = [] {
    int found = static_cast<int>(usable_cores().size());
    if (found == 0) found = static_cast<int>(std::thread::hardware_concurrency());
    if (const auto quota = read_cgroup_limits().cpus) found = std::min(found, static_cast<int>(std::ceil(*quota)));
    return std::max(1, found);
  }();
  return cores;
}

int omp_num_threads() {
  const char* const text = std::getenv("OMP_NUM_THREADS");
  const long value = text == nullptr ? 0 : std::strtol(text, nullptr, 10);
  return value >= 1 && value <= kMaxThreads ? static_cast<int>(value) : 0;
}

void limit_spinning(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  if (setenv("GOMP_SPINCOUNT", kSpinCount, 1) != 0) return;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);  // By name, which tools like pgrep show.
  if (!error) execv(program.c_str(), argv);
}

double peak_memory_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
}

}  // namespace distmnist
