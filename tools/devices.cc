// distmnist devices: what this host can compute on, and with --kernels what computes each layer of a model.
#include "lib/backend/gpu_log.h"
#include "lib/base/counted.h"
#include "lib/base/join.h"
#include "lib/base/output.h"
#include "lib/base/text_table.h"
#include "models/models.h"
#include "tools/commands.h"
#include "tools/cpu_info.h"
#include "tools/device.h"
#include "tools/environment.h"
#include "tools/flags.h"
#include "tools/num_threads.h"

namespace distmnist {
namespace {

void print_lines(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) print("{}\n", line);
}

void print_devices(Devices& devices) {
  const CpuInfo cpu = read_cpu_info();
  print("/cpu:0  {}, {}, {}\n", cpu.name, counted(num_cores(), "core"), join(cpu.instruction_sets, " "));
  const GpuSystem system = devices.gpu_system();
  if (system.runtime_version.empty()) {  // No module: nothing is known but why.
    print("no GPU: {}\n", system.fault);
  } else {
    print_lines(gpu_table(system));
  }
}

void print_kernels(const Flags& flags, Devices& devices) {
  const Graph graph = make_model(flags.training.model);
  CompileOptions options;
  options.max_batch_size = flags.training.batch_size;
  options.threads = num_threads(flags, 1);
  options.precision = flags.devices.precision;
  std::vector<std::vector<std::string>> rows = {{"layer", "device", "kernel"}};
  for (const DeviceBackend& each : devices.choose(flags, local_task(), graph)) {
    const std::vector<std::string> kernels = each.backend->compile(graph, options)->kernels();
    for (std::size_t i = 0; i < kernels.size(); ++i) {
      rows.push_back({scope_of(graph.layers[i]), each.devices[0].to_string(), kernels[i]});
    }
  }
  print_lines(aligned(rows));
}

}  // namespace

ExitCode devices_command(const Flags& flags) {
  if (!flags.devices.show_kernels &&
      (flags.devices.device || flags.devices.allow_soft_placement || flags.devices.precision != Precision::kF32)) {
    fail(ExitCode::kUsage,
         "devices: --device, --precision and --allow_soft_placement have an effect only with --kernels");
  }
  Devices devices(find_gpu_search());
  if (flags.devices.show_kernels) {
    print_kernels(flags, devices);
  } else {
    print_devices(devices);
  }
  return ExitCode::kOk;
}

}  // namespace distmnist
