#include "tools/device_flags.h"

#include "lib/backend/backend.h"
#include "lib/base/device_spec.h"
#include "lib/base/error.h"
#include "tools/number_option.h"

namespace distmnist {

void add_device_flags(CLI::App& app, Flags& flags) {
  app.add_option("--device", flags.device,
                 "/cpu:0, /gpu:1, /device:REFERENCE:0 (default: /gpu:0 where there is one, else /cpu:0)")
      ->group("devices");
  app.add_option("--precision", flags.precision,
                 "of products: f32, tf32, bf16, or auto (the fastest of the device); sums and variables stay f32")
      ->group("devices")
      ->capture_default_str();
  app.add_flag("--allow_soft_placement,!--noallow_soft_placement", flags.allow_soft_placement,
               "use /cpu:0 where a device, or a kernel on it, is not there (without it: an error)")
      ->group("devices");
  app.add_option("--per_process_gpu_memory_fraction", flags.per_process_gpu_memory_fraction,
                 "largest share of a GPU's memory that this process takes, taken at once (default: as needed)")
      ->group("devices");
  app.add_flag("--allow_growth,!--noallow_growth", flags.allow_growth,
               "take GPU memory as it is needed, up to the share")
      ->group("devices");
  app.add_option("--instruction_set", flags.instruction_set,
                 "of the CPU's kernels: portable, avx2, avx512, amx, or auto (the best that the processor has)")
      ->group("devices")
      ->capture_default_str();
  add_whole_number(
      app, "--intra_op_parallelism_threads", flags.intra_op_parallelism_threads,
      "threads of this task; 0: OMP_NUM_THREADS where it is set, else the cores that the process may use (affinity, "
      "cgroup) divided by the workers on this host, for a ps by all tasks there")
      ->group("devices");
}

void add_training_device_flags(CLI::App& app, Flags& flags) {
  app.add_option("--pin", flags.pin,
                 "auto: workers that share a host get cores of their own where their threads fill it; none: any core")
      ->group("devices")
      ->check(CLI::IsMember({"auto", "none"}))
      ->capture_default_str();
  app.add_flag("--log_device_placement,!--nolog_device_placement", flags.log_device_placement,
               "log the device of every variable, layer and gradient")
      ->group("devices");
  app.add_option("--replication", flags.replication,
                 "between_graph: replicas are tasks of a cluster; in_graph: towers of this process")
      ->group("devices")
      ->check(CLI::IsMember({"between_graph", "in_graph"}))
      ->capture_default_str();
  app.add_option("--devices", flags.devices,
                 "devices that share each step's batch, a tower on each: /gpu:0,/gpu:1 or /cpu:0,/cpu:1 (any number of "
                 "CPU devices)")
      ->group("devices");
  add_whole_number(app, "--num_gpus", flags.num_gpus, "the same as --devices /gpu:0,/gpu:1,...")->group("devices");
  app.add_flag("--batch_per_tower,!--nobatch_per_tower", flags.batch_per_tower,
               "each tower has a batch of --batch_size, so a step has as many times more samples")
      ->group("devices");
}

void check_device_flags(const Flags& flags) {
  if (!flags.device.empty()) parse_device(flags.device);
  parse_precision(flags.precision);
  if (flags.instruction_set != "auto") parse_instruction_set(flags.instruction_set);
  const std::optional<double>& share = flags.per_process_gpu_memory_fraction;
  if (share && !(*share > 0 && *share <= 1)) {
    fail(ExitCode::kUsage, "--per_process_gpu_memory_fraction={}: a share of the GPU's memory, above 0 and at most 1",
         *share);
  }
}

}  // namespace distmnist
