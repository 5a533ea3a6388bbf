// Uses the stand-ins in tests/support/cuda_modules: two_gpus has /gpu:0 and /gpu:1, and a third card that is too old;
// working has a module and no GPU.
#include "tools/device.h"

#include <cmath>
#include <thread>

#include "lib/base/join.h"
#include "lib/graph/slim.h"
#include "models/models.h"
#include "tests/support/catch.h"
#include "tests/support/cpu_kernels.h"
#include "tests/support/expect_error.h"
#include "tests/support/module_folder.h"

using namespace distmnist;

namespace {

ModuleFolder folder_of(const std::string& variant) {
  return {DISTMNIST_CUDA_MODULES, variant};
}

Flags parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "distmnist");
  return parse_flags(static_cast<int>(arguments.size()), arguments.data()).flags;
}

using Names = std::vector<std::string>;

// The devices of each backend, joined by "+" within one backend, without the task.
Names chosen(Devices& devices, const std::vector<const char*>& arguments, const Graph& graph = softmax()) {
  const std::string task = local_task().to_string();
  Names names;
  for (const DeviceBackend& each : devices.choose(parse(arguments), local_task(), graph)) {
    Names together;
    for (const DeviceSpec& device : each.devices) {
      REQUIRE(device.to_string().starts_with(task));
      together.push_back(device.to_string().substr(task.size()));
    }
    names.push_back(join(together, "+"));
  }
  return names;
}

bool refuses(Devices& devices, const std::vector<const char*>& arguments, const std::string& says,
             const Graph& graph = softmax()) {
  return fails_with(ExitCode::kUsage, says, [&] { devices.choose(parse(arguments), local_task(), graph); });
}

Graph with_dropout() {  // the simulated GPUs have no kernel for it
  auto net = slim::Net(8);
  net.dropout(0.5f, "thinned").fully_connected(3, "pred", Activation::kNone);
  return net.build();
}

}  // namespace

TEST_CASE("the program looks for a GPU only if a flag names one or there may be one") {
  const ModuleFolder folder = folder_of("two_gpus");
  Devices unasked({folder.path(), false});
  CHECK(chosen(unasked, {}) == Names{"/device:CPU:0"});
  Devices asked({folder.path(), true});
  CHECK(chosen(asked, {}) == Names{"/device:GPU:0"});
  CHECK(chosen(asked, {"--device=/cpu:0"}) == Names{"/device:CPU:0"});
}

TEST_CASE("without a flag the CPU is used if there is no GPU, or none with the model's kernels") {
  const ModuleFolder none = folder_of("working");
  Devices without({none.path(), true});
  CHECK(chosen(without, {}) == Names{"/device:CPU:0"});
  const ModuleFolder broken = folder_of("no_entry");
  Devices no_module({broken.path(), true});
  CHECK(chosen(no_module, {}) == Names{"/device:CPU:0"});
  const ModuleFolder two = folder_of("two_gpus");
  Devices devices({two.path(), true});
  CHECK(chosen(devices, {}, with_dropout()) == Names{"/device:CPU:0"});
}

TEST_CASE("devices are named with and without their task") {
  const ModuleFolder folder = folder_of("two_gpus");
  Devices devices({folder.path(), false});
  CHECK(chosen(devices, {"--device=/gpu:1"}) == Names{"/device:GPU:1"});
  CHECK(chosen(devices, {"--device=/gpu"}) == Names{"/device:GPU:0"});
  CHECK(chosen(devices, {"--device=/job:localhost/replica:0/task:0/device:GPU:1"}) == Names{"/device:GPU:1"});
  CHECK(chosen(devices, {"--device=/device:REFERENCE:0"}) == Names{"/device:REFERENCE:0"});
  CHECK(refuses(devices, {"--device=/job:worker/task:1/gpu:0"},
                "this is a device of a different task than /job:localhost"));
  CHECK(refuses(devices, {"--device=/job:worker/task:1/gpu:0", "--allow_soft_placement"}, "of a different task"));
}

TEST_CASE("several GPUs are one shared backend; with a CPU among them each device has its own") {
  const ModuleFolder folder = folder_of("two_gpus");
  Devices devices({folder.path(), false});
  CHECK(chosen(devices, {"--num_gpus=2"}) == Names{"/device:GPU:0+/device:GPU:1"});
  CHECK(chosen(devices, {"--devices=/gpu:1,/gpu:0"}) == Names{"/device:GPU:1+/device:GPU:0"});
  CHECK(chosen(devices, {"--devices=/gpu:1,/cpu:3,/gpu:0"}) ==
        Names{"/device:GPU:1", "/device:CPU:3", "/device:GPU:0"});
  const auto backend = [&](const char* argument) {
    return devices.choose(parse({argument}), local_task(), softmax())[0].backend;
  };
  CHECK(backend("--device=/gpu:0") == backend("--device=/gpu:0"));
  CHECK(backend("--device=/gpu:0") != backend("--device=/gpu:1"));
  CHECK(backend("--device=/gpu:0") == backend("--num_gpus=1"));
}

TEST_CASE("a missing device is an error with the reason and what to do") {
  const ModuleFolder two = folder_of("two_gpus"), none = folder_of("working");
  const TempDir empty;
  Devices devices({two.path(), false}), without({none.path(), false}), no_module({empty.path().string(), false});
  const std::string advice = "; use --device=/cpu:0 or --allow_soft_placement";
  CHECK(refuses(
      devices, {"--device=/gpu:7"},
      "device /gpu:7 is not available: CUDA shows 3 GPUs to this process (see CUDA_VISIBLE_DEVICES), numbered from 0" +
          advice));
  CHECK(refuses(devices, {"--device=/gpu:2"},
                "device /gpu:2 is not available: Made-up 6: built for 8.0 and newer, this card has 6.0" + advice));
  CHECK(refuses(devices, {"--num_gpus=3"}, "device /gpu:2 is not available"));
  CHECK(
      refuses(devices, {"--device=/cpu:1"}, "device /cpu:1 is not available: this host has one cpu device, number 0"));
  CHECK(refuses(without, {"--device=/gpu:0"}, "device /gpu:0 is not available: a stand-in" + advice));
  CHECK(refuses(no_module, {"--device=/gpu:0"}, "device /gpu:0 is not available: this build has no CUDA backend"));
  CHECK(refuses(no_module, {"--devices=/cpu:0,/gpu:0"},
                "; use --device=/cpu:0 instead of towers or --allow_soft_placement"));
  CHECK_FALSE(refuses(no_module, {"--device=/cpu:0", "--instruction_set=amx"}, "--allow_soft_placement"));
}

TEST_CASE("with soft placement the CPU replaces all devices if one is missing") {
  const ModuleFolder two = folder_of("two_gpus");
  const TempDir empty;
  Devices devices({two.path(), false}), no_module({empty.path().string(), false});
  for (const char* flag : {"--device=/gpu:7", "--num_gpus=3", "--devices=/gpu:0,/gpu:2,/cpu:1", "--device=/cpu:1"}) {
    INFO(flag);
    CHECK(chosen(devices, {flag, "--allow_soft_placement"}) == Names{"/device:CPU:0"});
  }
  CHECK(chosen(no_module, {"--device=/gpu:0", "--allow_soft_placement"}) == Names{"/device:CPU:0"});
  CHECK(chosen(devices, {"--device=/gpu:1", "--allow_soft_placement"}) == Names{"/device:GPU:1"});
}

TEST_CASE("a layer without a kernel is an error, or moves all layers to the CPU") {
  const ModuleFolder folder = folder_of("two_gpus");
  Devices devices({folder.path(), false});
  CHECK(refuses(devices, {"--num_gpus=2"},
                "layer thinned has no kernel on /gpu:0,/gpu:1; use --device=/cpu:0 instead of towers or "
                "--allow_soft_placement",
                with_dropout()));
  CHECK(chosen(devices, {"--num_gpus=2", "--allow_soft_placement"}, with_dropout()) == Names{"/device:CPU:0"});
}

TEST_CASE("a precision without kernels is an error, also with soft placement") {
  const ModuleFolder folder = folder_of("two_gpus");
  Devices devices({folder.path(), false});
  CHECK(chosen(devices, {"--device=/gpu:0", "--precision=bf16"}) == Names{"/device:GPU:0"});
  CHECK(refuses(
      devices, {"--device=/gpu:0", "--precision=tf32", "--allow_soft_placement"},
      "--precision=tf32: /gpu:0 has no kernels for it; choose one of f32, bf16, auto, or a different --device"));
}

TEST_CASE("the cpu has kernels for bf16 and none for tf32") {
  if (!has_cpu_kernels()) SKIP_CASE("this build does not have oneDNN, and the plain loops have no bf16");
  const ModuleFolder folder = folder_of("two_gpus");
  Devices devices({folder.path(), false});
  CHECK(refuses(devices, {"--device=/gpu:7", "--precision=tf32", "--allow_soft_placement"},
                "--precision=tf32: /cpu:0 has no kernels for it"));
  CHECK(refuses(devices, {"--devices=/cpu:0,/cpu:1", "--precision=tf32"}, "--precision=tf32: /cpu:0"));
  CHECK(chosen(devices, {"--device=/cpu:0", "--precision=bf16"}) == Names{"/device:CPU:0"});
}

TEST_CASE("a share of memory that is not free is an error also with soft placement") {
  const ModuleFolder folder = folder_of("two_gpus");
  Devices devices({folder.path(), false});
  const std::vector<const char*> all = {"--device=/gpu:0", "--per_process_gpu_memory_fraction=1",
                                        "--allow_soft_placement"};
  CHECK(fails_with(ExitCode::kResources, "a share of 1", [&] { chosen(devices, all); }));
  CHECK(chosen(devices, {"--device=/gpu:0", "--per_process_gpu_memory_fraction=0.5"}) == Names{"/device:GPU:0"});
}

TEST_CASE("executors compute on the devices, with the task in their names") {
  const ModuleFolder folder = folder_of("two_gpus");
  Devices devices({folder.path(), false});
  const Graph graph = softmax();
  const DeviceSpec worker = parse_device("/job:worker/replica:0/task:2");
  for (const char* flag : {"--num_gpus=2", "--devices=/gpu:0,/cpu:1"}) {
    INFO(flag);
    const DeviceExecutor made =
        devices.make_executor(parse({flag, "--precision=auto"}), worker, graph, {.max_batch_size = 3});
    REQUIRE(made.devices.size() == 2);
    CHECK(made.devices[0].to_string() == "/job:worker/replica:0/task:2/device:GPU:0");
    const std::vector<float> images(3 * 784, 0.5f);
    const std::vector<std::uint8_t> labels = {1, 2, 3};
    const StepResult result = made.executor->train_step({3, images, labels, 0}, nullptr);
    CHECK(result.loss == Approx(std::log(10.0)));  // the parameters are zero
  }
}

TEST_CASE("threads of a local run share one backend") {
  const ModuleFolder folder = folder_of("two_gpus");
  Devices devices({folder.path(), false});
  const Graph graph = softmax();
  const Flags flags = parse({"--device=/gpu:0"});
  std::vector<const Backend*> seen(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    threads.emplace_back([&, i] { seen[i] = devices.choose(flags, local_task(), graph)[0].backend; });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(seen[0] != nullptr);
  CHECK(std::vector<const Backend*>(4, seen[0]) == seen);
}

TEST_CASE("the devices command lists what CUDA finds, or why there is no module") {
  const ModuleFolder two = folder_of("two_gpus");
  CHECK(Devices({two.path(), false}).gpu_system().gpus.size() == 3);
  const TempDir empty;
  CHECK(Devices({empty.path().string(), false}).gpu_system().fault.starts_with("this build has no CUDA backend"));
}

TEST_CASE("a backend that was created but not used releases its memory") {
  const ModuleFolder folder = folder_of("two_gpus");
  Devices devices({folder.path(), false});
  // The simulated module allows one backend to use half of a card's memory.
  const char* half = "--per_process_gpu_memory_fraction=0.5";
  CHECK(chosen(devices, {"--devices=/gpu:0,/cpu:0,/gpu:2", "--allow_soft_placement", half}) == Names{"/device:CPU:0"});
  CHECK(chosen(devices, {"--num_gpus=2", half}) == Names{"/device:GPU:0+/device:GPU:1"});
  CHECK(fails_with(ExitCode::kResources, "a share of 0.5", [&] { chosen(devices, {"--device=/gpu:0", half}); }));
}
