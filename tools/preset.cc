#include "tools/preset.h"

#include "lib/base/error.h"

namespace distmnist {
namespace {

// Found by trying; tests/bench/accuracy.py says how many seeds reach the aim. A large rate in the middle of the run
// learns quickly; the small ones at its end settle what was learnt.
Flags fast() {
  Flags flags;
  flags.batch_size = 64;
  flags.train_steps = 1000;
  flags.learning_rate = 4e-3;
  flags.learning_rate_schedule = "one_cycle";
  return flags;
}

// More than one pass is of use only with images that are others in each.
Flags best() {
  Flags flags = fast();
  flags.train_steps = 2814;  // three passes
  flags.augment = "affine";
  return flags;
}

}  // namespace

Flags flags_of_preset(std::string_view name) {
  Flags flags;
  if (name == "fast") {
    flags = fast();
  } else if (name == "best") {
    flags = best();
  } else if (name != flags.preset) {
    fail(ExitCode::kUsage, "--preset={}: choose seeds, fast or best", name);
  }
  flags.preset = name;
  return flags;
}

std::string describe_preset_values(const Flags& flags) {
  return fmt::format(
      "batch_size {}, train_steps {}, optimizer {}, learning_rate {}, learning_rate_schedule {}, augment {}, precision "
      "{}",
      batch_sizes_of(flags).to_string(), flags.train_steps, flags.optimizer, flags.learning_rate,
      flags.learning_rate_schedule, flags.augment, flags.precision);
}

}  // namespace distmnist
