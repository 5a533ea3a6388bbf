#include "lib/backend/backend.h"

#include "lib/backend/cuda/loader.h"
#include "lib/backend/reference/reference_backend.h"
#include "lib/base/error.h"
#ifdef DISTMNIST_HAS_ONEDNN
#include "lib/backend/cpu/cpu_backend.h"
#endif

namespace distmnist {

std::unique_ptr<Backend> make_backend(std::string_view device_type, const std::string& module_folder,
                                      const GpuOptions& gpu, [[maybe_unused]] const CpuOptions& cpu) {
  if (device_type == "reference") return make_reference_backend();
#ifdef DISTMNIST_HAS_ONEDNN
  if (device_type == "cpu") return make_cpu_backend(cpu);
#else
  if (device_type == "cpu") return make_reference_backend();
#endif
  if (device_type == "gpu") {
    return std::unique_ptr<Backend>(load_cuda_module(module_folder).make_backend(gpu));
  }
  fail(ExitCode::kUsage, "unknown device type \"{}\"; use cpu, gpu or reference", device_type);
}

}  // namespace distmnist
