#include <algorithm>
#include <array>

#include "lib/backend/backend.h"
#include "lib/base/error.h"

namespace distmnist {
namespace {

constexpr std::array<std::string_view, 4> kPrecisions = {"f32", "tf32", "bf16", "auto"};  // in enum order

}  // namespace

Precision parse_precision(std::string_view name) {
  const auto found = std::ranges::find(kPrecisions, name);
  if (found == kPrecisions.end()) fail(ExitCode::kUsage, "--precision={}: choose f32, tf32, bf16 or auto", name);
  return static_cast<Precision>(found - kPrecisions.begin());
}

std::string_view to_string(Precision precision) {
  return kPrecisions[static_cast<std::size_t>(precision)];
}

}  // namespace distmnist
