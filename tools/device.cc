#include "tools/device.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>
#include <utility>

#include "lib/backend/cuda/loader.h"
#include "lib/backend/gpu_log.h"
#include "lib/base/counted.h"
#include "lib/base/error.h"
#include "lib/base/join.h"
#include "lib/base/log.h"
#include "lib/worker/towers.h"
#include "tools/environment.h"
#include "tools/tower_flags.h"

namespace distmnist {
namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// "/gpu:0", as flags name it.
std::string short_name(const DeviceSpec& device) {
  return fmt::format("/{}:{}", lower(*device.type), *device.index);
}

std::string short_names(const std::vector<DeviceSpec>& devices) {
  std::vector<std::string> names;
  for (const DeviceSpec& device : devices) names.push_back(short_name(device));
  return join(names, ",");
}

bool is_gpu(const DeviceSpec& device) {
  return device.type == "GPU";
}

DeviceSpec device_of(const DeviceSpec& task, const std::string& type, int index) {
  DeviceSpec device = task;
  device.type = type;
  device.index = index;
  return device;
}

[[noreturn]] void fail_unavailable(const DeviceSpec& device, const std::string& reason) {
  fail(ExitCode::kUsage, "device {} is not available: {}", short_name(device), reason);
}

// A device as a flag names it, with what it leaves open taken from this task.
DeviceSpec own_device(const DeviceSpec& named, const DeviceSpec& own) {
  const DeviceSpec device = named.completed_by(device_of(own, "CPU", 0));
  if (device.job != own.job || device.replica != own.replica || device.task != own.task) {
    fail(ExitCode::kUsage, "--device={}: this is a device of a different task than {}; leave out the job and the task",
         named.to_string(), own.to_string());
  }
  return device_of(own, *device.type, device.index.value_or(0));
}

std::vector<int> indices_of(const std::vector<DeviceSpec>& gpus) {
  std::vector<int> indices;
  for (const DeviceSpec& gpu : gpus) indices.push_back(*gpu.index);
  return indices;
}

void require_gpu(const GpuSystem& system, const DeviceSpec& gpu) {
  if (!system.fault.empty()) fail_unavailable(gpu, system.fault);
  const auto found = std::ranges::find(system.gpus, *gpu.index, &GpuInfo::index);
  if (found == system.gpus.end()) {
    fail_unavailable(gpu, fmt::format("CUDA shows {} GPU{} to this process (see CUDA_VISIBLE_DEVICES), numbered from 0",
                                      system.gpus.size(), system.gpus.size() == 1 ? "" : "s"));
  }
  if (!found->fault.empty()) fail_unavailable(gpu, fmt::format("{}: {}", found->name, found->fault));
}

std::optional<int> first_usable(const GpuSystem& system) {
  const auto found = std::ranges::find_if(system.gpus, [](const GpuInfo& gpu) { return gpu.fault.empty(); });
  if (!system.fault.empty() || found == system.gpus.end()) return std::nullopt;
  return found->index;
}

std::string why_none(const GpuSystem& system) {
  if (!system.fault.empty()) return system.fault;
  return system.gpus.empty() ? "CUDA shows none to this process"
                             : fmt::format("{}: {}", system.gpus[0].name, system.gpus[0].fault);
}

// Error (kUsage) for a layer that the backend cannot compute in any precision. A missing precision is a different error
// (require_precision), because no other device is used then.
void require_kernels(const DeviceBackend& on, const Graph& graph, Precision precision) {
  for (const Layer& layer : graph.layers) {
    if (on.backend->can_compute(layer, precision) || on.backend->can_compute(layer, Precision::kF32)) continue;
    fail(ExitCode::kUsage, "layer {} has no kernel on {}", scope_of(layer), short_names(on.devices));
  }
}

bool has_kernels(const Backend& backend, const Graph& graph, Precision precision) {
  return std::ranges::all_of(graph.layers, [&](const Layer& layer) { return backend.can_compute(layer, precision); });
}

void require_precision(const DeviceBackend& on, const Graph& graph, Precision precision) {
  if (has_kernels(*on.backend, graph, precision)) return;
  std::vector<std::string> others;
  for (const Precision other : {Precision::kF32, Precision::kTf32, Precision::kBf16, Precision::kAuto}) {
    if (has_kernels(*on.backend, graph, other)) others.emplace_back(to_string(other));
  }
  fail(ExitCode::kUsage, "--precision={}: {} has no kernels for it; choose one of {}, or a different --device",
       to_string(precision), short_names(on.devices), join(others, ", "));
}

std::unique_ptr<Executor> compile(const DeviceBackend& on, const Graph& graph, const CompileOptions& options) {
  std::vector<std::string> names;
  for (const DeviceSpec& device : on.devices) names.push_back(device_of({}, *device.type, *device.index).to_string());
  std::string precision(to_string(options.precision));
  if (options.precision == Precision::kAuto) {
    precision = fmt::format("{} (auto)", to_string(on.backend->fastest_precision()));
  }
  log_info("device {}: backend {}, precision {}, {}, {} per step", join(names, ", "), on.backend->name(), precision,
           counted(options.threads, "thread"), counted(options.max_batch_size, "sample"));
  return on.backend->compile(graph, options);
}

}  // namespace

GpuSearch find_gpu_search() {
  const std::filesystem::path folder = cuda_module_folder();
  std::error_code ignored;
  return {folder.string(), may_have_gpu() && std::filesystem::exists(folder / kCudaModuleFile, ignored)};
}

DeviceSpec local_task() {
  return {.job = "localhost", .replica = 0, .task = 0, .type = std::nullopt, .index = std::nullopt};
}

GpuSystem Devices::gpu_system() {
  const std::lock_guard lock(mutex_);
  return gpus();
}

const GpuSystem& Devices::gpus() {
  if (gpus_) return *gpus_;
  try {
    gpus_ = load_cuda_module(search_.module_folder).inspect();
  } catch (const Error& error) {
    if (error.code() != ExitCode::kUsage) throw;
    gpus_ = GpuSystem{.fault = error.what()};
  }
  return *gpus_;
}

void Devices::log_startup() {
  if (std::exchange(startup_logged_, true)) return;
  for (const std::string& line : startup_lines(gpus())) log_info("{}", line);
}

std::vector<DeviceSpec> Devices::wanted_devices(const Flags& flags, const DeviceSpec& own) {
  std::vector<DeviceSpec> wanted;
  if (flags.devices.device || has_towers(flags)) {
    for (const DeviceSpec& named : devices_of(flags)) wanted.push_back(own_device(named, own));
    return wanted;
  }
  if (!search_.unasked) return {device_of(own, "CPU", 0)};
  if (const std::optional<int> gpu = first_usable(gpus())) return {device_of(own, "GPU", *gpu)};
  log_info("no GPU: {}; using /cpu:0", why_none(gpus()));
  return {device_of(own, "CPU", 0)};
}

const Backend* Devices::gpu_backend(const std::vector<DeviceSpec>& devices, const Flags& flags) {
  log_startup();
  for (const DeviceSpec& gpu : devices) require_gpu(gpus(), gpu);
  std::unique_ptr<Backend>& backend = gpu_backends_[indices_of(devices)];
  if (backend) return backend.get();
  backend = make_backend("gpu", search_.module_folder,
                         {.devices = indices_of(devices),
                          .memory_fraction = flags.devices.per_process_gpu_memory_fraction,
                          .allow_growth = flags.devices.allow_growth});
  for (const DeviceSpec& gpu : devices) {
    log_info("{}", creation_line(*std::ranges::find(gpus().gpus, *gpu.index, &GpuInfo::index)));
  }
  return backend.get();
}

const Backend* Devices::host_backend(const DeviceSpec& device, const Flags& flags) {
  // A CPU device of --devices is a logical one: a name for a share of the cores.
  if (!has_towers(flags) && device.index != 0) {
    fail_unavailable(device, fmt::format("this host has one {} device, number 0", lower(*device.type)));
  }
  std::unique_ptr<Backend>& backend = host_backends_[*device.type];
  if (!backend) {
    CpuOptions options;
    options.instruction_set = flags.devices.instruction_set;
    backend = make_backend(lower(*device.type), {}, {}, options);
  }
  return backend.get();
}

std::vector<DeviceBackend> Devices::find_backends(const std::vector<DeviceSpec>& devices, const Flags& flags) {
  if (std::ranges::all_of(devices, is_gpu)) return {{devices, gpu_backend(devices, flags)}};
  std::vector<DeviceBackend> found;
  for (const DeviceSpec& device : devices) {
    found.push_back({{device}, is_gpu(device) ? gpu_backend({device}, flags) : host_backend(device, flags)});
  }
  return found;
}

std::vector<DeviceBackend> Devices::choose(const Flags& flags, const DeviceSpec& own, const Graph& graph) {
  const std::lock_guard lock(mutex_);
  const Precision precision = flags.devices.precision;
  const std::vector<DeviceSpec> wanted = wanted_devices(flags, own);
  const bool asked = flags.devices.device || has_towers(flags);
  const DeviceSpec first_cpu = device_of(own, "CPU", 0);
  std::set<std::vector<int>> before;
  for (const auto& [gpus, backend] : gpu_backends_) before.insert(gpus);
  std::vector<DeviceBackend> found;
  try {
    found = find_backends(wanted, flags);
    for (const DeviceBackend& each : found) require_kernels(each, graph, precision);
  } catch (const Error& error) {
    const bool only_cpu = std::ranges::all_of(wanted, [&](const DeviceSpec& each) { return each == first_cpu; });
    if (error.code() != ExitCode::kUsage || only_cpu) throw;
    if (asked && !flags.devices.allow_soft_placement) {
      fail(ExitCode::kUsage, "{}; use --device=/cpu:0{} or --allow_soft_placement", error.what(),
           has_towers(flags) ? " instead of towers" : "");
    }
    log_info("{}; {}using /cpu:0 instead", error.what(), asked ? "--allow_soft_placement: " : "");
    // Backends that are not used may have taken their share of memory.
    std::erase_if(gpu_backends_, [&](const auto& each) { return !before.contains(each.first); });
    found = {{{first_cpu}, host_backend(first_cpu, flags)}};
    require_kernels(found[0], graph, precision);
  }
  for (const DeviceBackend& each : found) require_precision(each, graph, precision);
  const bool on_gpu = std::ranges::any_of(found, [](const auto& each) { return is_gpu(each.devices[0]); });
  if (on_gpu) {
    for (const std::string& line : device_mapping(gpus(), own.to_string())) log_info("{}", line);
  }
  return found;
}

DeviceExecutor Devices::make_executor(const Flags& flags, const DeviceSpec& own, const Graph& graph,
                                      CompileOptions options) {
  const std::vector<DeviceBackend> found = choose(flags, own, graph);
  DeviceExecutor made;
  for (const DeviceBackend& each : found) {
    made.devices.insert(made.devices.end(), each.devices.begin(), each.devices.end());
  }
  const std::int64_t num_devices = std::ssize(made.devices);
  if (options.max_batch_size < num_devices) {
    log_warning("--batch_size={}: smaller than the number of towers, {} of which stay idle", options.max_batch_size,
                num_devices - options.max_batch_size);
  }
  options.precision = flags.devices.precision;
  if (found.size() == 1) {
    made.executor = compile(found[0], graph, options);
    return made;
  }
  std::vector<std::unique_ptr<Executor>> towers;
  for (const DeviceBackend& each : found) {
    CompileOptions part = options;
    part.max_batch_size =
        std::max<std::int64_t>(1, part_of_tower(options.max_batch_size, towers.size(), found.size()).size);
    part.threads = std::max(1, options.threads / static_cast<int>(found.size()));
    towers.push_back(compile(each, graph, part));
  }
  made.executor = make_towers(std::move(towers));
  return made;
}

}  // namespace distmnist
