#include "tools/device.h"

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

#include "lib/base/device_spec.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/worker/towers.h"
#include "tools/environment.h"
#include "tools/tower_flags.h"

namespace distmnist {
namespace {

// "cpu"; what a device name leaves open is the CPU.
std::string type_of(const DeviceSpec& device) {
  std::string type = device.type.value_or("CPU");
  std::ranges::transform(type, type.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return type;
}

std::unique_ptr<Backend> backend_of(const DeviceSpec& device) {
  return make_backend(type_of(device), (program_folder() / "../lib").lexically_normal().string());
}

std::unique_ptr<Executor> compile(const Backend& backend, const std::string& device, const Graph& graph,
                                  const CompileOptions& options) {
  log_info("device {}: backend {}, {} threads, {} samples per step", device, backend.name(), options.threads,
           options.max_batch_size);
  return backend.compile(graph, options);
}

}  // namespace

std::unique_ptr<Backend> make_device_backend(const Flags& flags) {
  const DeviceSpec device = parse_device(flags.device.empty() ? "/cpu:0" : flags.device);
  if (device.type != "GPU" && device.index.value_or(0) != 0) {
    fail(ExitCode::kUsage, "--device={}: this host has one {} device, number 0", flags.device, type_of(device));
  }
  return backend_of(device);
}

std::unique_ptr<Executor> make_executor(const Flags& flags, const Graph& graph, const CompileOptions& options) {
  const std::vector<DeviceSpec> devices = devices_of(flags);
  if (!has_towers(flags)) {
    return compile(*make_device_backend(flags), devices[0].to_string(), graph, options);
  }
  // A CPU device of --devices is a logical one: a name for a share of the cores.
  const auto num_towers = static_cast<int>(devices.size());
  if (options.max_batch_size < num_towers) {
    log_warning("--batch_size={}: smaller than the number of towers, {} of which stay idle", options.max_batch_size,
                num_towers - options.max_batch_size);
  }
  std::vector<std::unique_ptr<Executor>> towers;
  for (const DeviceSpec& device : devices) {
    CompileOptions own = options;
    own.max_batch_size =
        std::max<std::int64_t>(1, part_of_tower(options.max_batch_size, towers.size(), devices.size()).size);
    own.threads = std::max(1, options.threads / num_towers);
    towers.push_back(compile(*backend_of(device), device.to_string(), graph, own));
  }
  return towers.size() == 1 ? std::move(towers[0]) : make_towers(std::move(towers));
}

}  // namespace distmnist
