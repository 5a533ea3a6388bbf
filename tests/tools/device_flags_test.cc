#include "tools/device_flags.h"

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

using namespace distmnist;

namespace {

Flags parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "distmnist");
  return parse_flags(static_cast<int>(arguments.size()), arguments.data()).flags;
}

}  // namespace

TEST_CASE("by default placement is not soft, GPU memory is allocated on demand and products are f32") {
  const Flags flags = parse({});
  CHECK_FALSE(flags.devices.device);
  CHECK_FALSE(flags.devices.allow_soft_placement);
  CHECK_FALSE(flags.devices.log_device_placement);
  CHECK_FALSE(flags.devices.per_process_gpu_memory_fraction);
  CHECK_FALSE(flags.devices.allow_growth);
  CHECK(flags.devices.precision == Precision::kF32);
}

TEST_CASE("every command that computes accepts the flags of devices") {
  const std::vector<const char*> flags = {"--device=/gpu:1", "--allow_soft_placement",
                                          "--per_process_gpu_memory_fraction=0.25", "--allow_growth",
                                          "--precision=auto"};
  for (const std::vector<const char*>& command :
       {std::vector<const char*>{}, {"evaluate", "--log_dir=x"}, {"predict", "--log_dir=x", "a.png"}, {"devices"}}) {
    std::vector<const char*> arguments = command;
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const Flags parsed = parse(arguments);
    CHECK(parsed.devices.device == parse_device("/gpu:1"));
    CHECK(parsed.devices.allow_soft_placement);
    CHECK(parsed.devices.per_process_gpu_memory_fraction == 0.25);
    CHECK(parsed.devices.allow_growth);
    CHECK(parsed.devices.precision == Precision::kAuto);
  }
}

TEST_CASE("commands that do not compute accept none of them") {
  CHECK(fails_with(ExitCode::kUsage, "--device", [] { parse({"inspect", "x.safetensors", "--device=/cpu:0"}); }));
  CHECK(fails_with(ExitCode::kUsage, "--log_device_placement", [] {
    parse({"evaluate", "--log_dir=x", "--log_device_placement"});
  }));
}

TEST_CASE("devices lists the kernels of a model") {
  const Flags flags = parse({"devices", "--kernels", "--model=mlp"});
  CHECK(flags.command == Command::kDevices);
  CHECK(flags.devices.show_kernels);
  CHECK(flags.training.model == "mlp");
  CHECK(fails_with(ExitCode::kUsage, "--kernels", [] { parse({"--kernels"}); }));
}

TEST_CASE("invalid values are refused") {
  const std::pair<const char*, const char*> cases[] = {
      {"--precision=f16", "--precision=f16: choose f32, tf32, bf16 or auto"},
      {"--instruction_set=sse9", "--instruction_set=sse9: choose auto, portable, avx2, avx512 or amx"},
      {"--pin=some", "--pin"},
      {"--per_process_gpu_memory_fraction=0", "--per_process_gpu_memory_fraction=0: a share"},
      {"--per_process_gpu_memory_fraction=1.5", "above 0 and at most 1"},
      {"--per_process_gpu_memory_fraction=nan", "nan"},
      {"--per_process_gpu_memory_fraction=half", "half"},
      {"--device=/tpu:0", "tpu"},
      {"--device=gpu0", "gpu0"},
  };
  for (const auto& [argument, says] : cases) {
    INFO(argument);
    CHECK(fails_with(ExitCode::kUsage, says, [&] { parse({argument}); }));
  }
}

TEST_CASE("config.toml contains the devices and the memory flags if they were given") {
  const std::string text = to_toml(parse({"--precision=auto", "--device=/gpu:1", "--allow_growth"}));
  CHECK(text.find("precision = \"auto\"\n") != std::string::npos);
  CHECK(text.find("\ndevice = \"/device:GPU:1\"\n") != std::string::npos);
  CHECK(text.find("\nallow_growth = true\n") != std::string::npos);
  CHECK(to_toml(parse({})).find("\ndevice =") == std::string::npos);
}
