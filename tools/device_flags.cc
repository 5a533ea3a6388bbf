#include "tools/device_flags.h"

#include "lib/base/error.h"

namespace distmnist {

void check_device_flags(const Flags& flags) {
  const std::optional<double>& share = flags.devices.per_process_gpu_memory_fraction;
  if (share && !(*share > 0 && *share <= 1)) {
    fail(ExitCode::kUsage, "--per_process_gpu_memory_fraction={}: a share of the GPU's memory, above 0 and at most 1",
         *share);
  }
}

}  // namespace distmnist
