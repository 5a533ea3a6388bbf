#include "tools/flags.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <CLI/CLI.hpp>

#include "data/augment.h"
#include "lib/base/error.h"
#include "lib/cluster/placement.h"
#include "lib/ps/records/names.h"
#include "tools/admin_flags.h"
#include "tools/command_line.h"
#include "tools/device_flags.h"
#include "tools/key_flags.h"
#include "tools/number_option.h"
#include "tools/optimizer_flags.h"
#include "tools/preset.h"
#include "tools/replication_flags.h"
#include "tools/tower_flags.h"

namespace distmnist {
namespace {

void add_cluster_flags(CLI::App& app, Flags& flags) {
  app.add_option("--job_name", flags.job_name, "role of this process: ps or worker (without it: local training)")
      ->group("cluster");
  add_whole_number(app, "--task_index", flags.task_index, "which task of the job, from 0")->group("cluster");
  app.add_option("--ps_hosts", flags.ps_hosts, "host:port of every ps, comma-separated")->group("cluster");
  app.add_option("--worker_hosts", flags.worker_hosts, "host:port of every worker, comma-separated")->group("cluster");
  app.add_option("--cluster", flags.cluster, "JSON file: job -> list of host:port")->group("cluster");
  app.add_option("--bind", flags.bind,
                 "where a ps listens: 0.0.0.0, [::], an IP address or a name, with or without :port (default: at its "
                 "address in the cluster)")
      ->group("cluster");
  app.add_option("--allow", flags.allow,
                 "addresses that a ps takes connections from beside those of the cluster's hosts: "
                 "10.0.0.0/24,192.168.1.7 (default: none; with --keys all)")
      ->group("cluster");
  app.add_flag("--insecure,!--noinsecure", flags.insecure, "let a ps without --keys serve at, and to, public addresses")
      ->group("cluster");
  app.add_option("--ps_job", flags.ps_job, "the job of --cluster that plays the ps")
      ->group("cluster")
      ->capture_default_str();
  app.add_option("--worker_job", flags.worker_job, "the job of --cluster that plays the workers")
      ->group("cluster")
      ->capture_default_str();
  app.add_option("--keys", flags.keys,
                 "folder with this task's keys, as distmnist keygen makes them; who has none is not heard")
      ->group("cluster");
  app.add_option("--container", flags.container, "where the run's variables live on ps tasks with --ps_stay")
      ->group("cluster");
  app.add_flag("--ps_stay,!--nops_stay", flags.ps_stay,
               "a ps serves any number of runs, each in a --container of its own, until a signal ends it")
      ->group("cluster");
}

void add_data_flags(CLI::App& app, Flags& flags) {
  app.add_option("--data_dir", flags.data_dir, "folder of the MNIST files, plain or .gz, or with MNIST/raw in it")
      ->group("data");
  app.add_option("--dataset", flags.dataset, "mnist or synthetic (default: mnist where it is found)")
      ->group("data")
      ->check(CLI::IsMember({"mnist", "synthetic"}));
}

void add_training_flags(CLI::App& app, Flags& flags) {
  app.add_flag("--download_only,!--nodownload_only", flags.download_only, "fetch MNIST into the cache and end")
      ->group("data");
  app.add_option("--preset", flags.preset,
                 "defaults of the flags of training: seeds (those shown here), fast (99.0 % soon) or best (99.4 %)")
      ->group("training")
      ->capture_default_str();
  app.add_option("--model", flags.model, "mnist_cnn, mlp or softmax")->group("training")->capture_default_str();
  add_whole_number(app, "--batch_size", flags.batch_size, "samples per step and worker; see --batch_per_tower")
      ->group("training");
  app.add_option("--batch_size_schedule", flags.batch_size_schedule,
                 "batch sizes by global_step, e.g. 0:50,1000:100 (default: --batch_size throughout)")
      ->group("training");
  add_whole_number(app, "--train_steps", flags.train_steps, "global steps in all")->group("training");
  app.add_option("--augment", flags.augment,
                 "changes of training images, others in each pass: none, or affine (shift, turn, scale, shear)")
      ->group("training")
      ->capture_default_str();
  add_whole_number(app, "--log_every", flags.log_every, "global steps between two lines of accuracy")
      ->group("training");
  add_whole_number(app, "--seed", flags.seed, "of weights, data order and dropout")->group("training");
}

CLI::Option* add_replication_flags(CLI::App& app, Flags& flags) {
  add_whole_number(app, "--num_workers", flags.num_workers, "workers of a local run, threads of this process")
      ->group("replication");
  add_whole_number(app, "--num_ps", flags.num_ps, "parameter servers of a local run with several workers")
      ->group("replication");
  CLI::Option* sync = app.add_flag("--sync_replicas,!--nosync_replicas", flags.sync_replicas,
                                   "a step is the mean of one gradient from each of R workers")
                          ->group("replication");
  add_whole_number(app, "--replicas_to_aggregate", flags.replicas_to_aggregate,
                   "R of --sync_replicas; 0: the number of workers")
      ->group("replication");
  app.add_option("--on_lost_worker", flags.on_lost_worker,
                 "when fewer than R workers are left: wait, shrink or fail (default: shrink)")
      ->group("replication");
  app.add_option("--staleness", flags.staleness,
                 "what becomes of pushes with old parameters: keep, drop:K (staler than K) or scale (rate / staleness)")
      ->group("replication")
      ->capture_default_str();
  add_whole_number(app, "--max_staleness", flags.max_staleness,
                   "batches a worker may be ahead of the slowest one; -1: any number")
      ->group("replication");
  add_whole_number(app, "--warmup_steps", flags.warmup_steps, "global steps that worker 0 trains alone at first")
      ->group("replication");
  app.add_option("--on_nan", flags.on_nan,
                 "what a gradient or loss that is not finite does: fail (ends the run, exit 8) or skip (is dropped)")
      ->group("replication")
      ->capture_default_str();
  app.add_option("--warmup_epochs", flags.warmup_epochs, "the same in passes through the training set")
      ->group("replication");
  return sync;
}

void add_optimizer_flags(CLI::App& app, Flags& flags) {
  app.add_option("--optimizer", flags.optimizer, "sgd, momentum, adagrad, rmsprop or adam")
      ->group("training")
      ->capture_default_str();
  app.add_option("--momentum", flags.momentum, "of the optimizers momentum (default: 0.9) and rmsprop (default: 0)")
      ->group("training");
  app.add_flag("--nesterov,!--nonesterov", flags.nesterov, "with --optimizer=momentum: Nesterov's form of it")
      ->group("training");
  app.add_option("--adam_beta1", flags.adam_beta1, "how much of the mean of the gradients a step keeps")
      ->group("training")
      ->capture_default_str();
  app.add_option("--adam_beta2", flags.adam_beta2, "the same, of the mean of their squares")
      ->group("training")
      ->capture_default_str();
  app.add_option("--learning_rate", flags.learning_rate)->group("training")->capture_default_str();
  app.add_option("--learning_rate_schedule", flags.learning_rate_schedule,
                 "constant, exponential, staircase, cosine or one_cycle, over global_step")
      ->group("training")
      ->capture_default_str();
  add_whole_number(app, "--decay_steps", flags.decay_steps, "of the schedule; 0: --train_steps")->group("training");
  app.add_option("--decay_rate", flags.decay_rate, "factor in --decay_steps, exponential and staircase (default: 0.96)")
      ->group("training");
  add_whole_number(app, "--learning_rate_warmup_steps", flags.learning_rate_warmup_steps,
                   "first steps, in which the learning rate rises to its full size")
      ->group("training");
}

void add_run_flags(CLI::App& app, Flags& flags) {
  app.add_option("--wire_dtype", flags.wire_dtype,
                 "of gradients and parameters between workers and ps: f32, bf16 or f16")
      ->group("wire")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}))
      ->capture_default_str();
  app.add_option("--placement", flags.placement,
                 "of variables on ps tasks: split, round_robin, load_balanced or manual")
      ->group("wire")
      ->capture_default_str();
  app.add_option("--place_variables", flags.place_variables,
                 "rules of --placement=manual, the first that fits counts: 'conv1/*=/job:ps/task:0,...'")
      ->group("wire");
  app.add_option("--log_dir", flags.log_dir, "run folder: checkpoints, metrics.csv, config.toml (default: no files)")
      ->group("supervisor");
  add_whole_number(app, "--save_model_secs", flags.save_model_secs, "seconds between two checkpoints")
      ->group("supervisor");
  add_whole_number(app, "--max_to_keep", flags.max_to_keep, "checkpoints kept; 0: all")->group("supervisor");
  app.add_option("--recovery_wait_secs", flags.recovery_wait_secs, "how long a lost or unready peer is retried")
      ->group("supervisor")
      ->capture_default_str();
  app.add_flag("--fresh,!--nofresh", flags.fresh, "move the old run in log_dir aside and start anew")
      ->group("supervisor");
}

void add_console_flags(CLI::App& app, Flags& flags) {
  app.add_option("--progress", flags.progress, "auto, plain or none")
      ->group("console")
      ->check(CLI::IsMember({"auto", "plain", "none"}))
      ->capture_default_str();
  app.add_option("--log_format", flags.log_format, "text or json")
      ->group("console")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

void add_subcommands(CLI::App& app, Flags& flags) {
  auto* evaluate = app.add_subcommand("evaluate", "accuracy, loss and confusion matrix of the newest checkpoint");
  evaluate->add_option("--log_dir", flags.log_dir, "run folder, or a checkpoint file")->required();
  add_data_flags(*evaluate, flags);
  evaluate
      ->add_flag("--other_data,!--noother_data", flags.other_data,
                 "measure also on data that the run was not trained on")
      ->group("data");
  evaluate->callback([&flags] { flags.command = Command::kEvaluate; });

  auto* predict = app.add_subcommand("predict", "class and probabilities of images, by the newest checkpoint");
  predict->add_option("--log_dir", flags.log_dir, "run folder, or a checkpoint file")->required();
  predict->add_option("files", flags.files, "pictures (PNG, JPEG), or IDX files of images")->required();
  predict->add_flag("--raw", flags.raw, "the pixels of 28x28 pictures as they are: 0 background, 255 ink");
  predict->callback([&flags] { flags.command = Command::kPredict; });

  auto* inspect = app.add_subcommand("inspect", "what a checkpoint file holds");
  inspect->add_option("checkpoint", flags.checkpoint, "a .safetensors file, or a run folder: its newest one")
      ->required();
  inspect->callback([&flags] { flags.command = Command::kInspect; });

  auto* devices = app.add_subcommand("devices", "the devices of this host, and what runs on which of them");
  devices->add_flag("--kernels", flags.show_kernels, "what computes each layer of --model on --device");
  devices->add_option("--model", flags.model, "mnist_cnn, mlp or softmax")->capture_default_str();
  devices->callback([&flags] { flags.command = Command::kDevices; });
  for (CLI::App* subcommand : {evaluate, predict, devices}) add_device_flags(*subcommand, flags);
  for (CLI::App* subcommand : {evaluate, predict, inspect, devices}) add_console_flags(*subcommand, flags);
}

template <typename T>
void require(const char* flag, T value, T low, T high, const char* meaning) {
  if (!(value >= low && value <= high)) fail(ExitCode::kUsage, "--{}={}: {}", flag, value, meaning);
}

void check_placement(const Flags& flags) {
  const bool manual = parse_placement(flags.placement) == PlacementPolicy::kManual;
  if (manual && flags.place_variables.empty()) {
    fail(ExitCode::kUsage, "--placement=manual: say with --place_variables which variables go where");
  }
  if (flags.place_variables.empty()) return;
  if (!manual) {
    fail(ExitCode::kUsage, "--place_variables={}: has no effect with --placement={}; give --placement=manual",
         flags.place_variables, flags.placement);
  }
  parse_placement_rules(flags.place_variables, flags.ps_job);
}

void check_values(const Flags& flags) {
  require<std::int64_t>("batch_size", flags.batch_size, 1, kLargestBatchSize, "a batch has 1 to 1048576 samples");
  require<std::int64_t>("train_steps", flags.train_steps, 1, std::int64_t{1} << 53, "1 to 2^53 steps");
  require<std::int64_t>("log_every", flags.log_every, 1, std::int64_t{1} << 53, "1 to 2^53 steps");
  require<std::int64_t>("save_model_secs", flags.save_model_secs, 1, 1'000'000'000, "1 to 1000000000 seconds");
  require("max_to_keep", flags.max_to_keep, 0, 1'000'000, "0 (all) or a number of checkpoints");
  require("recovery_wait_secs", flags.recovery_wait_secs, 0.0, 1e9, "a number of seconds");
  require("recovery_wait_secs", flags.admin_wait_secs, 0.0, 1e9, "a number of seconds");
  require("intra_op_parallelism_threads", flags.intra_op_parallelism_threads, 0, 1024, "0 (automatic) to 1024 threads");
  require("task_index", flags.task_index, 0, 1'000'000, "tasks are counted from 0");
  parse_augmentation(flags.augment);
  check_optimizer_flags(flags);
  check_placement(flags);
  check_device_flags(flags);
  check_tower_flags(flags);
  if (!is_container_name(flags.container)) {
    fail(ExitCode::kUsage, "--container={}: {}", flags.container, name_rule());
  }
}

// A schedule brings its first batch size along; `batch_size_given`: --batch_size was too.
void take_first_batch_size(Flags& flags, bool batch_size_given) {
  if (flags.batch_size_schedule.empty()) return;
  const std::int64_t first = batch_sizes_of(flags).at(0);
  if (batch_size_given && flags.batch_size != first) {
    fail(ExitCode::kUsage, "--batch_size={} is not what --batch_size_schedule={} starts with; give one of them",
         flags.batch_size, flags.batch_size_schedule);
  }
  flags.batch_size = first;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

// A file of --config names its data by one flag, and the command line may name other data by the other one.
void prefer_given_data(const std::vector<std::string>& arguments, Flags& flags) {
  const auto is_given = [&](const std::string& flag) {
    return std::ranges::any_of(
        arguments, [&](const std::string& argument) { return argument == flag || argument.starts_with(flag + "="); });
  };
  const bool data_dir = is_given("--data_dir"), dataset = is_given("--dataset");
  if (data_dir && !dataset) flags.dataset.clear();
  if (dataset && !data_dir) flags.data_dir.clear();
}

void expand_paths(Flags& flags) {
  for (std::string* path : {&flags.log_dir, &flags.data_dir, &flags.cluster, &flags.checkpoint, &flags.keygen_folder})
    *path = at_home(*path);
  for (std::string& file : flags.files) file = at_home(file);
  if (flags.keys) flags.keys = at_home(*flags.keys);
}

struct ReadFlags {
  ParsedFlags parsed;
  bool batch_size_given = false;
};

// parse_flags with these values for what is not given, before any value is checked.
ReadFlags read_flags(const Flags& defaults, int argc, const char* const* argv) {
  ReadFlags read;
  read.parsed.flags = defaults;
  Flags& flags = read.parsed.flags;
  CLI::App app{"distmnist: trains the MNIST convolutional network, alone or on a cluster of ps and worker processes."};
  app.name("distmnist");
  app.set_version_flag("--version", "distmnist " DISTMNIST_VERSION);
  add_config_flag(app);
  app.require_subcommand(0, 1);
  add_cluster_flags(app, flags);
  add_data_flags(app, flags);
  add_training_flags(app, flags);
  const CLI::Option* sync_replicas = add_replication_flags(app, flags);
  add_optimizer_flags(app, flags);
  add_device_flags(app, flags);
  add_training_device_flags(app, flags);
  add_run_flags(app, flags);
  add_console_flags(app, flags);
  add_subcommands(app, flags);
  add_admin_subcommands(app, flags);
  add_keygen_subcommand(app, flags);

  const CommandLine line = read_command_line(app, argc, argv);
  if (line.text) {
    read.parsed.only_print = true;
    read.parsed.text = *line.text;
    return read;
  }
  prefer_given_data(line.words, flags);
  expand_paths(flags);
  flags.sync_replicas_given = sync_replicas->count() > 0;
  flags.task_index_given = app.count("--task_index") > 0;
  read.batch_size_given = app.count("--batch_size") > 0;
  return read;
}

}  // namespace

ParsedFlags parse_flags(int argc, const char* const* argv) {
  ReadFlags read = read_flags(Flags{}, argc, argv);
  if (read.parsed.only_print) return read.parsed;
  // A preset gives defaults, and is known only once everything has been read: a file of --config may name it, too.
  read = read_flags(flags_of_preset(read.parsed.flags.preset), argc, argv);
  Flags& flags = read.parsed.flags;
  check_values(flags);
  take_first_batch_size(flags, read.batch_size_given);
  check_replication(flags);
  return read.parsed;
}

std::string to_toml(const Flags& flags) {
  std::string text = "# The flags of this run; distmnist --config takes this file.\n";
  const auto add = [&](const char* flag, const auto& value) { text += fmt::format("{} = {}\n", flag, value); };
  const bool is_line = flags.data_dir.find('\n') == std::string::npos;  // A path may be anything.
  if (!flags.data_dir.empty() && is_line) add("data_dir", quoted(flags.data_dir));
  if (!flags.dataset.empty()) add("dataset", quoted(flags.dataset));
  add("model", quoted(flags.model));
  if (flags.batch_size_schedule.empty()) {
    add("batch_size", flags.batch_size);
  } else {
    add("batch_size_schedule", quoted(flags.batch_size_schedule));
  }
  add("train_steps", flags.train_steps);
  add("optimizer", quoted(flags.optimizer));
  if (flags.momentum) add("momentum", *flags.momentum);
  add("nesterov", flags.nesterov);
  add("adam_beta1", flags.adam_beta1);
  add("adam_beta2", flags.adam_beta2);
  add("learning_rate", flags.learning_rate);
  add("learning_rate_schedule", quoted(flags.learning_rate_schedule));
  add("decay_steps", flags.decay_steps);
  if (flags.decay_rate) add("decay_rate", *flags.decay_rate);
  add("learning_rate_warmup_steps", flags.learning_rate_warmup_steps);
  add("augment", quoted(flags.augment));
  add("log_every", flags.log_every);
  add("seed", flags.seed);
  add("wire_dtype", quoted(flags.wire_dtype));
  add("placement", quoted(flags.placement));
  add("place_variables", quoted(flags.place_variables));
  add("replication", quoted(flags.replication));
  add("devices", quoted(flags.devices));
  add("num_gpus", flags.num_gpus);
  add("precision", quoted(flags.precision));
  add("batch_per_tower", flags.batch_per_tower);
  add("save_model_secs", flags.save_model_secs);
  add("max_to_keep", flags.max_to_keep);
  add("recovery_wait_secs", flags.recovery_wait_secs);
  return text + replication_to_toml(flags);
}

BatchSizeSchedule batch_sizes_of(const Flags& flags) {
  return flags.batch_size_schedule.empty() ? BatchSizeSchedule(flags.batch_size)
                                           : BatchSizeSchedule::parse(flags.batch_size_schedule);
}

}  // namespace distmnist
