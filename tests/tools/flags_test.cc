#include "tools/flags.h"

#include <fstream>

#include "lib/base/error.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"
#include "tools/optimizer_flags.h"
#include "tools/preset.h"

using namespace distmnist;

namespace {

ParsedFlags parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "distmnist");
  return parse_flags(static_cast<int>(arguments.size()), arguments.data());
}

std::string usage_error(const std::vector<const char*>& arguments) {
  try {
    parse(arguments);
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kUsage);
    return error.what();
  }
  FAIL("accepted");
  return {};
}

}  // namespace

TEST_CASE("the defaults are those of the tutorials") {
  const Flags flags = parse({}).flags;
  CHECK(flags.command == Command::kTrain);
  CHECK(flags.training.batch_size == 50);
  CHECK(flags.training.train_steps == 5000);
  CHECK(flags.training.log_every == 100);
  const OptimizerSpec optimizer = optimizer_of(flags);
  CHECK(optimizer.kind == OptimizerKind::kAdam);
  CHECK(optimizer.learning_rate == 1e-4f);
}

TEST_CASE("flags are accepted with underscores and with dashes, and values are not changed") {
  const Flags flags = parse({"--job-name=worker", "--task-index", "2", "--ps_hosts=a-b:1", "--log-dir=/x/y-z"}).flags;
  CHECK(flags.cluster.job_name == "worker");
  CHECK(flags.cluster.task_index == 2);
  CHECK(flags.cluster.ps_hosts == "a-b:1");
  CHECK(flags.supervisor.log_dir == "/x/y-z");
}

TEST_CASE("booleans have three forms") {
  CHECK(parse({"--fresh"}).flags.supervisor.fresh);
  CHECK(parse({"--fresh=true"}).flags.supervisor.fresh);
  CHECK_FALSE(parse({"--fresh=false"}).flags.supervisor.fresh);
  CHECK_FALSE(parse({"--nofresh"}).flags.supervisor.fresh);
}

TEST_CASE("an unknown flag and a value out of range are reported in one sentence that names them") {
  CHECK(usage_error({"--on_nan=ignore"}) == "--on_nan=ignore: choose fail or skip");
  CHECK(usage_error({"--password=secret"}).find("--password") != std::string::npos);
  CHECK(usage_error({"--batch_size=0"}).find("--batch_size=0") != std::string::npos);
  CHECK(usage_error({"--batch_size=many"}).find("many") != std::string::npos);
  CHECK(usage_error({"--learning_rate=-1"}).find("--learning_rate=-1") != std::string::npos);
  CHECK(usage_error({"--learning_rate=nan"}).find("--learning_rate=nan") != std::string::npos);
  CHECK(usage_error({"--optimizer=newton"}).find("newton") != std::string::npos);
  CHECK(usage_error({"--augment=mirror"}).find("--augment=mirror: choose none or affine") != std::string::npos);
  CHECK(usage_error({"--preset=quick"}).find("--preset=quick: choose seeds, fast or best") != std::string::npos);
  CHECK(usage_error({"--progress=loud"}).find("loud") != std::string::npos);
  CHECK(usage_error({"stray"}).find("stray") != std::string::npos);
}

TEST_CASE("the wire's number type is one of three, and float32 by default") {
  CHECK(parse({}).flags.wire.dtype == WireDtype::kF32);
  CHECK(parse({"--wire-dtype=bf16"}).flags.wire.dtype == WireDtype::kBf16);
  CHECK(parse({"--wire_dtype", "f16"}).flags.wire.dtype == WireDtype::kF16);
  CHECK(usage_error({"--wire_dtype=fp8"}).find("--wire_dtype") != std::string::npos);
}

TEST_CASE("placement rules are accepted with manual placement only") {
  const char* const rules = "--place_variables=conv1/*=/job:ps/task:0,pred/*=/job:master/task:1";
  CHECK(parse({"--placement=manual", "--ps_job=master", rules}).flags.wire.place_variables == std::string(rules + 18));
  CHECK(usage_error({"--placement=manual", rules}).find("names the job master") != std::string::npos);
  CHECK(usage_error({"--placement=manual"}).find("--place_variables") != std::string::npos);
  CHECK(usage_error({"--ps_job=master", rules}).find("--placement=manual") != std::string::npos);
  CHECK(usage_error({"--placement=manual", "--place_variables=conv1/*"}).find("'conv1/*'") != std::string::npos);
}

TEST_CASE("a schedule of batch sizes sets the first batch size") {
  const Flags flags = parse({"--batch_size_schedule=0:20,100:40"}).flags;
  CHECK(flags.training.batch_size == 20);
  CHECK(flags.training.batch_sizes().to_string() == "0:20,100:40");
  CHECK(to_toml(parse({"--batch_size_schedule=0:30"}).flags).find("batch_size_schedule = \"0:30\"\n") !=
        std::string::npos);
  CHECK(parse({"--batch_size=20", "--batch_size_schedule=0:20,100:40"}).flags.training.batch_size == 20);
  CHECK(parse({"--batch_size=30"}).flags.training.batch_sizes().to_string() == "30");
}

TEST_CASE("an invalid schedule of batch sizes, or one that contradicts the batch size, is refused") {
  CHECK(usage_error({"--batch_size_schedule=10:20"}).find("starts at global_step 10") != std::string::npos);
  const std::string error = usage_error({"--batch_size=50", "--batch_size_schedule=0:20,100:40"});
  CHECK(error.find("--batch_size=50 is not what --batch_size_schedule=0:20,100:40 starts with") != std::string::npos);
}

TEST_CASE("a switch takes true or false, and no other number") {
  CHECK_FALSE(parse({"--fresh=no"}).flags.supervisor.fresh);
  CHECK(parse({"--fresh=on"}).flags.supervisor.fresh);
  CHECK_FALSE(parse({"--nofresh=1"}).flags.supervisor.fresh);
  for (const char* text :
       {"--fresh=2", "--fresh=5,5", "--fresh=0x10", "--fresh=1k", "--fresh=-0.5", "--fresh=-1", "--nofresh=7"}) {
    CHECK(usage_error({text}).find("give true or false") != std::string::npos);
  }
}

TEST_CASE("an error in a value names its flag") {
  CHECK(usage_error({"--optimizer=abc"}).find("--optimizer=abc: ") == 0);
  CHECK(usage_error({"--device=abc"}).find("--device=abc: ") == 0);
  CHECK(usage_error({"--warmup_epochs=1e20"}) == "--warmup_epochs=1e+20: give 0 to 1000000 passes");
  CHECK(usage_error({"--seed=99999999999999999999"}).find("at most 18446744073709551615") != std::string::npos);
}

TEST_CASE("help and version only print") {
  CHECK(parse({"--version"}).text == "distmnist " DISTMNIST_VERSION "\n");
  CHECK(parse({"--help"}).text.find("--worker_hosts") != std::string::npos);
  CHECK(parse({"predict", "--help"}).text.find("PNG") != std::string::npos);
}

TEST_CASE("subcommands take their own arguments") {
  const Flags evaluate = parse({"evaluate", "--log_dir", "logs"}).flags;
  CHECK(evaluate.command == Command::kEvaluate);
  CHECK(evaluate.supervisor.log_dir == "logs");
  const Flags predict = parse({"predict", "--log-dir=logs", "a.png", "b.idx"}).flags;
  CHECK(predict.files.files == std::vector<std::string>{"a.png", "b.idx"});
  CHECK(parse({"inspect", "x.safetensors"}).flags.files.checkpoint == "x.safetensors");
  CHECK(usage_error({"inspect"}).find("CHECKPOINT") != std::string::npos);
  CHECK(usage_error({"evaluate"}).find("log_dir") != std::string::npos);
}

TEST_CASE("flags before a subcommand count, and training flags are refused there") {
  const TempDir temp;
  const std::string config = "--config=" + (temp / "config.toml").string();
  std::ofstream(temp / "config.toml") << "data_dir = \"/a\"\nseed = 3\nrecovery_wait_secs = 77\n";
  CHECK(parse({"--ps_hosts=prod:2222", "reset", "--all"}).flags.cluster.ps_hosts == "prod:2222");
  CHECK(parse({"--ps_hosts=a:1", "reset", "--all", "--ps_hosts=b:2"}).flags.cluster.ps_hosts == "b:2");
  CHECK(parse({"--log_format=json", "evaluate", "--log_dir=x"}).flags.console.log_format == LogFormat::kJson);
  CHECK(parse({"--container=c", "variable", "list"}).flags.cluster.container == "c");
  CHECK(parse({config.c_str(), "evaluate", "--log_dir=x"}).flags.data.data_dir == "/a");
  CHECK(parse({config.c_str(), "reset", "--all"}).flags.admin.wait_secs == 5);  // the file does not concern reset
  CHECK(usage_error({"--seed=3", "evaluate", "--log_dir=x"}).find("--seed is a flag of training") == 0);
  CHECK(usage_error({"--nofresh", "inspect", "x"}).find("--fresh is a flag of training") == 0);
}

TEST_CASE("an empty value removes a value from a file, for flags that can be unset") {
  CHECK(parse({"--devices="}).flags.devices.devices.empty());
  CHECK_FALSE(parse({"--device="}).flags.devices.device);
  CHECK(usage_error({"--dataset="}).find("--dataset=: choose mnist or synthetic") == 0);
  CHECK(usage_error({"variable", "", "x"}).find("ACTION is empty") == 0);
  CHECK(usage_error({"evaluate", "--log_dir="}).find("--log_dir is empty") == 0);
  CHECK(parse({"--learning_rate=+1e-3"}).flags.training.learning_rate == 1e-3);
  CHECK(usage_error({"--learning_rate=+-1"}).find("--learning_rate=+-1: not a number") == 0);
}

TEST_CASE("a preset changes the defaults, and explicit flags have priority") {
  const Flags fast = parse({"--preset=fast"}).flags, preset = flags_of_preset("fast");
  CHECK(fast.training.batch_size == preset.training.batch_size);
  CHECK(fast.training.train_steps == preset.training.train_steps);
  CHECK(fast.training.learning_rate == preset.training.learning_rate);
  CHECK(fast.training.learning_rate_schedule == preset.training.learning_rate_schedule);
  CHECK(fast.training.train_steps != parse({}).flags.training.train_steps);

  const Flags own = parse({"--batch_size=50", "--preset=fast", "--optimizer=sgd"}).flags;
  CHECK(own.training.batch_size == 50);  // the value of a different preset, but explicit
  CHECK(own.training.optimizer == OptimizerKind::kSgd);
  CHECK(own.training.train_steps == preset.training.train_steps);
  CHECK(parse({"--preset=fast", "--batch_size_schedule=0:20,100:40"}).flags.training.batch_sizes().to_string() ==
        "0:20,100:40");
  CHECK(parse({"--preset=fast", "--decay_steps=300"}).flags.training.decay_steps ==
        300);  // the preset has a schedule for it
}

TEST_CASE("a file of flags can name a preset, and has priority over its values") {
  const TempDir temp;
  const auto file = temp.path() / "flags.toml";
  std::ofstream(file) << "preset = \"fast\"\nlearning_rate = 0.5\n";
  const std::string option = "--config=" + file.string();
  const Flags flags = parse({option.c_str()}).flags;
  CHECK(flags.training.learning_rate == 0.5);
  CHECK(flags.training.train_steps == flags_of_preset("fast").training.train_steps);
  CHECK(parse({option.c_str(), "--preset=best"}).flags.training.train_steps ==
        flags_of_preset("best").training.train_steps);
}

TEST_CASE("a run's config.toml contains the values of its preset") {
  const TempDir temp;
  const auto file = temp.path() / "config.toml";
  for (const char* preset : {"--preset=seeds", "--preset=fast", "--preset=best"}) {
    const Flags flags = parse({preset, "--seed=3"}).flags;
    std::ofstream(file) << to_toml(flags);
    const std::string option = "--config=" + file.string();
    CHECK(to_toml(parse({option.c_str()}).flags) == to_toml(flags));
    CHECK(to_toml(parse({option.c_str(), "--preset=fast"}).flags) == to_toml(flags));
  }
}

TEST_CASE("config.toml can be passed to --config, and the command line has priority") {
  const TempDir temp;
  const auto file = temp.path() / "config.toml";
  Flags flags =
      parse({"--seed=7", "--optimizer=momentum", "--learning_rate=0.05", "--momentum=0.7", "--nesterov",
             "--learning_rate_schedule=staircase", "--decay_steps=20", "--decay_rate=0.5",
             "--learning_rate_warmup_steps=3", "--on_nan=skip", "--replication=in_graph", "--devices=/cpu:0,/cpu:1",
             "--batch_per_tower", "--precision=auto", "--augment=affine", "--wire_dtype=f16", "--placement=manual",
             "--place_variables=conv1/*=/job:ps/task:0,*=/job:ps/task:1"})
          .flags;
  std::ofstream(file) << to_toml(flags);
  CHECK(parse({("--config=" + file.string()).c_str()}).flags.training.batch_size_schedule == std::nullopt);
  std::ofstream(file) << to_toml(parse({"--batch_size_schedule=0:20,100:40"}).flags);
  CHECK(parse({("--config=" + file.string()).c_str()}).flags.training.batch_size_schedule->to_string() ==
        "0:20,100:40");
  std::ofstream(file) << to_toml(parse({"--adam_beta1=0.8", "--adam_beta2=0.95"}).flags);
  CHECK(optimizer_of(parse({("--config=" + file.string()).c_str()}).flags).beta1 == 0.8f);
  CHECK(optimizer_of(parse({("--config=" + file.string()).c_str()}).flags).beta2 == 0.95f);
  std::ofstream(file) << to_toml(flags);
  const std::string option = "--config=" + file.string();
  const Flags again = parse({option.c_str(), "--batch_size=10"}).flags;
  CHECK(again.training.seed == 7);
  CHECK(again.training.optimizer == OptimizerKind::kMomentum);
  CHECK(optimizer_of(again) == optimizer_of(flags));
  CHECK(again.devices.replication == Replication::kInGraph);
  CHECK(again.replication.on_nan == OnNan::kSkip);
  CHECK(again.devices.devices == flags.devices.devices);
  CHECK(again.devices.batch_per_tower);
  CHECK(again.devices.precision == Precision::kAuto);
  CHECK(again.training.augment == Augmentation::kAffine);
  CHECK(again.wire.placement == PlacementPolicy::kManual);
  CHECK(again.wire.dtype == WireDtype::kF16);
  CHECK(again.wire.place_variables == flags.wire.place_variables);
  CHECK(again.training.batch_size == 10);
  std::ofstream(file) << to_toml(parse({}).flags);  // defaults in the file do not conflict with other flags
  CHECK(parse({option.c_str(), "--optimizer=rmsprop"}).flags.training.optimizer == OptimizerKind::kRmsprop);
  std::ofstream(file, std::ios::app) << "no_such_flag = 1\n";
  CHECK(usage_error({option.c_str()}).find("no_such_flag") != std::string::npos);
  std::ofstream(file) << "[evaluate]\nlog_dir = \"logs\"\n";
  CHECK(usage_error({option.c_str()}).find("[evaluate]") != std::string::npos);
}

TEST_CASE("data flags on the command line replace those of a file, whichever flag names the data") {
  const TempDir temp;
  const std::string option = "--config=" + (temp / "config.toml").string();
  const auto write = [&](std::initializer_list<const char*> flags) {
    std::ofstream(temp / "config.toml") << to_toml(parse(flags).flags);
  };
  write({"--data_dir=/my \"data\""});
  CHECK(parse({option.c_str()}).flags.data.data_dir == "/my \"data\"");
  CHECK(parse({option.c_str(), "--data-dir=/b"}).flags.data.data_dir == "/b");
  CHECK(parse({option.c_str(), "--dataset=synthetic"}).flags.data.data_dir.empty());
  write({"--dataset=synthetic"});
  CHECK(parse({option.c_str()}).flags.data.dataset == DatasetChoice::kSynthetic);
  CHECK(parse({option.c_str(), "--data_dir", "/b"}).flags.data.dataset == std::nullopt);
  write({"--dataset=mnist", "--data_dir=/a"});
  CHECK(parse({option.c_str()}).flags.data.dataset == DatasetChoice::kMnist);
  CHECK(parse({option.c_str()}).flags.data.data_dir == "/a");
}
