#include "tools/tower_flags.h"

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

using namespace distmnist;

namespace {

Flags parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "distmnist");
  return parse_flags(static_cast<int>(arguments.size()), arguments.data()).flags;
}

std::vector<std::string> devices(const std::vector<const char*>& arguments) {
  std::vector<std::string> names;
  for (const DeviceSpec& device : devices_of(parse(arguments))) names.push_back(device.to_string());
  return names;
}

}  // namespace

TEST_CASE("without towers the step is computed on one device") {
  CHECK(devices({}) == std::vector<std::string>{"/device:CPU:0"});
  CHECK(devices({"--device=/gpu:1"}) == std::vector<std::string>{"/device:GPU:1"});
  CHECK(devices({"--num_gpus=0"}) == std::vector<std::string>{"/device:CPU:0"});
  CHECK_FALSE(has_towers(parse({"--device=/cpu:0"})));
  CHECK(step_batch_sizes(parse({"--batch_size=30"})).at(0) == 30);
}

TEST_CASE("towers can be named or counted") {
  CHECK(devices({"--devices=/cpu:1,/gpu:0,/device:REFERENCE:0"}) ==
        std::vector<std::string>{"/device:CPU:1", "/device:GPU:0", "/device:REFERENCE:0"});
  CHECK(devices({"--num_gpus=2"}) == std::vector<std::string>{"/device:GPU:0", "/device:GPU:1"});
  CHECK(has_towers(parse({"--replication=in_graph", "--devices=/cpu:0,/cpu:1"})));
  CHECK(has_towers(parse({"--num_gpus=1"})));
}

TEST_CASE("towers share the batch, or have one batch each") {
  const std::vector<const char*> towers = {"--batch_size=30", "--devices=/cpu:0,/cpu:1,/cpu:2"};
  CHECK(step_batch_sizes(parse(towers)).at(0) == 30);
  CHECK(step_batch_sizes(parse({towers[0], towers[1], "--batch_per_tower"})).at(0) == 90);
  CHECK(step_batch_sizes(parse({towers[0], "--num_gpus=2", "--batch_per_tower"})).at(0) == 60);
}

TEST_CASE("towers that apply their gradients separately are workers of a local run, each with a part of the batch") {
  const Flags flags =
      parse({"--replication=in_graph", "--nosync_replicas", "--devices=/cpu:0,/cpu:1,/cpu:2", "--batch_size=2"});
  CHECK(has_independent_towers(flags));
  const Flags own = flags_of_independent_tower(flags, 1);
  CHECK(own.devices.devices == std::vector{parse_device("/cpu:1")});
  CHECK(own.replication.num_workers == 3);
  CHECK(own.training.batch_size == 1);  // not 0
  CHECK_FALSE(has_independent_towers(own));
  CHECK_FALSE(has_independent_towers(parse({"--replication=in_graph", "--devices=/cpu:0,/cpu:1"})));
  const Flags whole = parse({"--replication=in_graph", "--nosync_replicas", "--devices=/cpu:0,/cpu:1",
                             "--batch_size=30", "--batch_per_tower"});
  CHECK(flags_of_independent_tower(whole, 0).training.batch_size == 30);
}

TEST_CASE("a worker of a cluster can have towers") {
  const Flags flags = parse({"--job_name=worker", "--replication=between_graph", "--devices=/cpu:0,/cpu:1"});
  CHECK(devices_of(flags).size() == 2);
}

TEST_CASE("conflicting tower flags are refused") {
  const std::pair<std::vector<const char*>, const char*> cases[] = {
      {{"--replication=in_graph"}, "say with --devices or --num_gpus"},
      {{"--replication=in_graph", "--device=/cpu:0"}, "say with --devices or --num_gpus"},
      {{"--replication=in_graph", "--num_gpus=2", "--job_name=worker"}, "is within one process"},
      {{"--replication=in_graph", "--num_gpus=2", "--ps_hosts=a:1"}, "is within one process"},
      {{"--replication=in_graph", "--num_gpus=2", "--worker_hosts=a:1"}, "is within one process"},
      {{"--replication=in_graph", "--num_gpus=2", "--cluster=c.json"}, "is within one process"},
      {{"--replication=both"}, "both"},
      {{"--device=/cpu:0", "--devices=/cpu:0,/cpu:1"}, "give only one of them"},
      {{"--device=/cpu:0", "--num_gpus=1"}, "give only one of them"},
      {{"--devices=/gpu:0", "--num_gpus=1"}, "give only one of them"},
      {{"--batch_per_tower"}, "there are no towers"},
      {{"--num_gpus=-1"}, "--num_gpus=-1"},
      {{"--num_gpus=65"}, "--num_gpus=65"},
  };
  for (const auto& [arguments, says] : cases) {
    INFO(arguments.front() << " ... " << says);
    CHECK(fails_with(ExitCode::kUsage, says, [&] { parse(arguments); }));
  }
}

TEST_CASE("devices that are invalid, duplicate, of a different task or too many are refused") {
  std::string many = "--devices=/cpu:0";
  for (int i = 1; i <= 64; ++i) many += ",/cpu:" + std::to_string(i);
  const std::pair<const char*, const char*> cases[] = {
      {"--devices=/tpu:0", "tpu"},
      {"--devices=/cpu:0,", "'' does not name a device"},
      {"--devices=/cpu:0,/cpu:1,/device:CPU:0", "a device is listed twice; give each a different number"},
      {"--devices=/cpu,/cpu:0", "a device is listed twice; give each a different number"},
      {"--devices=/job:worker/task:1/cpu:0,/cpu:1",
       "leave out the job and the task of /job:worker/task:1/device:CPU:0"},
      {many.c_str(), "65 devices are too many"},
  };
  for (const auto& [argument, says] : cases) {
    INFO(argument);
    CHECK(fails_with(ExitCode::kUsage, says, [&] { parse({argument}); }));
  }
}
