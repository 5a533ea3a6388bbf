#include "tools/preset.h"

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tools/flag_table.h"
#include "tools/optimizer_flags.h"

using namespace distmnist;

TEST_CASE("the seeds preset changes nothing") {
  const Flags defaults, seeds = flags_of_preset("seeds");
  CHECK(defaults.training.preset == "seeds");
  CHECK(to_toml(seeds) == to_toml(defaults));
}

TEST_CASE("every preset has its name and can be used for training") {
  for (const char* name : {"seeds", "fast", "best"}) {
    const Flags flags = flags_of_preset(name);
    CHECK(flags.training.preset == name);
    CHECK_NOTHROW(check_optimizer_flags(flags));
  }
  CHECK(fails_with(ExitCode::kUsage, "--preset=quick: choose seeds, fast or best", [] { flags_of_preset("quick"); }));
}

TEST_CASE("a preset reaches its target in fewer passes than the seeds preset, or with augmented images") {
  const auto samples = [](const Flags& flags) { return flags.training.batch_size * flags.training.train_steps; };
  CHECK(samples(flags_of_preset("fast")) < samples(Flags{}));
  CHECK(flags_of_preset("best").training.augment == Augmentation::kAffine);
}

TEST_CASE("the description of a preset has the values of the run") {
  Flags flags = flags_of_preset("fast");
  flags.training.batch_size = 17;
  flags.training.train_steps = 23;
  flags.training.learning_rate = 0.5;
  flags.training.adam_beta1 = 0.75;
  flags.training.adam_beta2 = 0.25;
  CHECK(describe_preset_values(flags).starts_with(
      "batch_size 17, train_steps 23, optimizer adam, adam_beta1 0.75, adam_beta2 0.25, learning_rate 0.5, "));
}
