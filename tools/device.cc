#include "tools/device.h"

#include <algorithm>
#include <cctype>

#include "lib/base/device_spec.h"
#include "lib/base/error.h"
#include "tools/environment.h"

namespace distmnist {

std::unique_ptr<Backend> make_device_backend(const Flags& flags) {
  if (flags.device.empty()) return make_backend("cpu");
  const DeviceSpec device = parse_device(flags.device);
  std::string type = device.type.value_or("CPU");
  std::ranges::transform(type, type.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (type != "gpu" && device.index.value_or(0) != 0) {
    fail(ExitCode::kUsage, "--device={}: this host has one {} device, number 0", flags.device, type);
  }
  return make_backend(type, (program_folder() / "../lib").lexically_normal().string());
}

}  // namespace distmnist
