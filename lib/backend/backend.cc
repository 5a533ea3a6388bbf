#include "lib/backend/backend.h"

#include <algorithm>
#include <array>

#include "lib/backend/cuda/loader.h"
#include "lib/backend/reference/reference_backend.h"
#include "lib/base/error.h"
#ifdef DISTMNIST_HAS_ONEDNN
#include "lib/backend/cpu/cpu_backend.h"
#endif

namespace distmnist {

namespace {

constexpr std::array<std::string_view, 4> kPrecisions = {"f32", "tf32", "bf16", "auto"};  // in the enumeration's order

}  // namespace

Precision parse_precision(std::string_view name) {
  const auto found = std::ranges::find(kPrecisions, name);
  if (found == kPrecisions.end()) fail(ExitCode::kUsage, "--precision={}: choose f32, tf32, bf16 or auto", name);
  return static_cast<Precision>(found - kPrecisions.begin());
}

std::string_view to_string(Precision precision) {
  return kPrecisions[static_cast<std::size_t>(precision)];
}

std::unique_ptr<Backend> make_backend(std::string_view device_type, const std::string& module_folder,
                                      const GpuOptions& gpu) {
  if (device_type == "reference") return make_reference_backend();
#ifdef DISTMNIST_HAS_ONEDNN
  if (device_type == "cpu") return make_cpu_backend();
#else
  if (device_type == "cpu") return make_reference_backend();
#endif
  if (device_type == "gpu") {
    return std::unique_ptr<Backend>(load_cuda_module(module_folder).make_backend(gpu));
  }
  fail(ExitCode::kUsage, "unknown device type \"{}\"; use cpu, gpu or reference", device_type);
}

}  // namespace distmnist
