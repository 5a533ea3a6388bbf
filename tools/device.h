// Devices: what a process computes on, from --device, --devices and --num_gpus.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/backend/gpu_system.h"
#include "lib/base/device_spec.h"
#include "tools/flags.h"

namespace distmnist {

// How GPUs are looked for.
struct GpuSearch {
  std::string module_folder;  // where the CUDA module is looked for before the dynamic linker's own places
  bool unasked = false;       // whether there may be a GPU to use where no flag names a device
};
// This process's: the module beside the program; unasked where module and GPU can both be there.
GpuSearch find_gpu_search();

// "/job:localhost/replica:0/task:0", the name of a process that is no task of a cluster.
DeviceSpec local_task();

// Devices that one backend computes on. Several GPUs are one: their backend makes towers of them by itself.
struct DeviceBackend {
  std::vector<DeviceSpec> devices;   // with job, replica and task
  const Backend* backend = nullptr;  // owned by Devices
};

struct DeviceExecutor {
  std::unique_ptr<Executor> executor;
  std::vector<DeviceSpec> devices;  // what it computes on, with job, replica and task
};

// Owns the backends of a process, which share a GPU's memory between all executors. The CUDA module is loaded when a
// GPU is asked for, or may be there and nothing else is asked for, and the start-up log about GPUs is written then,
// once. Outlives its executors. Any thread may call it.
class Devices {
 public:
  explicit Devices(GpuSearch search) : search_(std::move(search)) {}

  // The devices of the flags, of the task `own` (job, replica and task are set), with backends that have a kernel for
  // every layer. Without flags: the first GPU that can be used, else /cpu:0. Where a device or a kernel is not there
  // the CPU takes its place with --allow_soft_placement, with a line in the log; the precision never changes.
  // Error (kUsage): a device that is not there or is of another task, a layer or a precision without a kernel.
  std::vector<DeviceBackend> choose(const Flags& flags, const DeviceSpec& own, const Graph& graph);

  // What computes the training steps: one executor, or a tower on each of the devices. The options are the worker's,
  // but for the precision, which is the flags': its towers share max_batch_size and threads. Error (kUsage) as above,
  // kResources where memory is short.
  DeviceExecutor make_executor(const Flags& flags, const DeviceSpec& own, const Graph& graph, CompileOptions options);

  // What CUDA has found on this host. Loads the module; without one the system's fault says so.
  GpuSystem gpu_system();

 private:
  // The rest is called with mutex_ held.
  const GpuSystem& gpus();
  std::vector<DeviceSpec> wanted_devices(const Flags& flags, const DeviceSpec& own);
  std::vector<DeviceBackend> find_backends(const std::vector<DeviceSpec>& devices, const Flags& flags);
  const Backend* gpu_backend(const std::vector<DeviceSpec>& devices, const Flags& flags);
  const Backend* host_backend(const DeviceSpec& device, const Flags& flags);
  void log_startup();

  GpuSearch search_;
  std::mutex mutex_;
  std::optional<GpuSystem> gpus_;
  bool startup_logged_ = false;
  std::map<std::vector<int>, std::unique_ptr<Backend>> gpu_backends_;  // by their GPUs
  std::map<std::string, std::unique_ptr<Backend>> host_backends_;      // by type: CPU, REFERENCE
};

}  // namespace distmnist
