#include "tools/flags.h"

#include <algorithm>
#include <utility>

#include <CLI/CLI.hpp>

#include "lib/base/error.h"

namespace distmnist {
namespace {

// "--task-index=1" -> "--task_index=1": one spelling for CLI11. Values and file names stay as they are.
std::string with_underscores(std::string argument) {
  if (!argument.starts_with("--")) return argument;
  const std::size_t end = std::min(argument.find('='), argument.size());
  std::replace(argument.begin() + 2, argument.begin() + static_cast<std::ptrdiff_t>(end), '-', '_');
  return argument;
}

void add_cluster_flags(CLI::App& app, Flags& flags) {
  app.add_option("--job_name", flags.job_name, "role of this process: ps or worker (without it: local training)")->group("cluster");
  app.add_option("--task_index", flags.task_index, "which task of the job, from 0")->group("cluster")->capture_default_str();
  app.add_option("--ps_hosts", flags.ps_hosts, "host:port of every ps, comma-separated")->group("cluster");
  app.add_option("--worker_hosts", flags.worker_hosts, "host:port of every worker, comma-separated")->group("cluster");
  app.add_option("--cluster", flags.cluster, "JSON file: job -> list of host:port")->group("cluster");
  app.add_option("--ps_job", flags.ps_job, "the job of --cluster that plays the ps")->group("cluster")->capture_default_str();
  app.add_option("--worker_job", flags.worker_job, "the job of --cluster that plays the workers")->group("cluster")->capture_default_str();
}

void add_data_flags(CLI::App& app, Flags& flags) {
  app.add_option("--data_dir", flags.data_dir, "folder of the MNIST files, plain or .gz, or with MNIST/raw in it")->group("data");
  app.add_option("--dataset", flags.dataset, "mnist or synthetic (default: mnist where it is found)")
      ->group("data")
      ->check(CLI::IsMember({"mnist", "synthetic"}));
}

void add_training_flags(CLI::App& app, Flags& flags) {
  app.add_flag("--download_only", flags.download_only, "fetch MNIST into the cache and end")->group("data");
  app.add_option("--model", flags.model, "mnist_cnn, mlp or softmax")->group("training")->capture_default_str();
  app.add_option("--batch_size", flags.batch_size, "samples per step and worker")->group("training")->capture_default_str();
  app.add_option("--train_steps", flags.train_steps, "global steps in all")->group("training")->capture_default_str();
  app.add_option("--optimizer", flags.optimizer, "adam, sgd or momentum")->group("training")->capture_default_str();
  app.add_option("--learning_rate", flags.learning_rate)->group("training")->capture_default_str();
  app.add_option("--momentum", flags.momentum, "of --optimizer=momentum")->group("training")->capture_default_str();
  app.add_option("--log_every", flags.log_every, "global steps between two lines of accuracy")->group("training")->capture_default_str();
  app.add_option("--seed", flags.seed, "of weights, data order and dropout")->group("training")->capture_default_str();
}

void add_device_flags(CLI::App& app, Flags& flags) {
  app.add_option("--device", flags.device, "/cpu:0, /gpu:0, /device:REFERENCE:0 (default: /cpu:0)")->group("devices");
  app.add_option("--intra_op_parallelism_threads", flags.intra_op_parallelism_threads,
                 "threads of this worker's kernels; 0: all cores divided by the workers on this host")
      ->group("devices")
      ->capture_default_str();
}

void add_run_flags(CLI::App& app, Flags& flags) {
  app.add_option("--placement", flags.placement, "of variables on ps tasks: split, round_robin or load_balanced")
      ->group("wire")
      ->capture_default_str();
  app.add_option("--log_dir", flags.log_dir, "run folder: checkpoints, metrics.csv, config.toml (default: no files)")->group("supervisor");
  app.add_option("--save_model_secs", flags.save_model_secs, "seconds between two checkpoints")->group("supervisor")->capture_default_str();
  app.add_option("--max_to_keep", flags.max_to_keep, "checkpoints kept; 0: all")->group("supervisor")->capture_default_str();
  app.add_option("--recovery_wait_secs", flags.recovery_wait_secs, "how long a lost or unready peer is retried")
      ->group("supervisor")
      ->capture_default_str();
  app.add_flag("--fresh,!--nofresh", flags.fresh, "move the old run in log_dir aside and start anew")->group("supervisor");
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
  evaluate->add_option("--log_dir", flags.log_dir, "run folder")->required();
  add_data_flags(*evaluate, flags);
  evaluate->callback([&flags] { flags.command = Command::kEvaluate; });

  auto* predict = app.add_subcommand("predict", "class and probabilities of images, by the newest checkpoint");
  predict->add_option("--log_dir", flags.log_dir, "run folder")->required();
  predict->add_option("files", flags.files, "PNG images or IDX image files")->required();
  predict->callback([&flags] { flags.command = Command::kPredict; });

  auto* inspect = app.add_subcommand("inspect", "what a checkpoint file holds");
  inspect->add_option("checkpoint", flags.checkpoint, "a .safetensors file")->required();
  inspect->callback([&flags] { flags.command = Command::kInspect; });
  for (CLI::App* subcommand : {evaluate, predict, inspect}) {
    add_device_flags(*subcommand, flags);
    add_console_flags(*subcommand, flags);
  }
}

template <typename T>
void require(const char* flag, T value, T low, T high, const char* meaning) {
  if (value < low || value > high) fail(ExitCode::kUsage, "--{}={}: {}", flag, value, meaning);
}

void check_values(const Flags& flags) {
  require<std::int64_t>("batch_size", flags.batch_size, 1, 1 << 20, "a batch has 1 to 1048576 samples");
  require<std::int64_t>("train_steps", flags.train_steps, 1, std::int64_t{1} << 53, "at least one step");
  require<std::int64_t>("log_every", flags.log_every, 1, std::int64_t{1} << 53, "at least every step");
  require<std::int64_t>("save_model_secs", flags.save_model_secs, 1, 1'000'000'000, "at least one second");
  require("max_to_keep", flags.max_to_keep, 0, 1'000'000, "0 (all) or a number of checkpoints");
  require("recovery_wait_secs", flags.recovery_wait_secs, 0.0, 1e9, "a number of seconds");
  require("intra_op_parallelism_threads", flags.intra_op_parallelism_threads, 0, 1024, "0 (automatic) to 1024 threads");
  require("task_index", flags.task_index, 0, 1'000'000, "tasks are counted from 0");
  if (!(flags.learning_rate > 0) || flags.learning_rate > 1e6) {
    fail(ExitCode::kUsage, "--learning_rate={}: a number above 0", flags.learning_rate);
  }
  require("momentum", flags.momentum, 0.0, 1.0, "a number from 0 to 1");
  parse_optimizer(flags.optimizer);
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace

ParsedFlags parse_flags(int argc, const char* const* argv) {
  ParsedFlags parsed;
  Flags& flags = parsed.flags;
  CLI::App app{"distmnist: trains the MNIST convolutional network, alone or on a cluster of ps and worker processes."};
  app.name("distmnist");
  app.set_version_flag("--version", "distmnist " DISTMNIST_VERSION);
  app.set_config("--config", "", "TOML file of flags; those of the command line win")->group("console");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.require_subcommand(0, 1);
  add_cluster_flags(app, flags);
  add_data_flags(app, flags);
  add_training_flags(app, flags);
  add_device_flags(app, flags);
  add_run_flags(app, flags);
  add_console_flags(app, flags);
  add_subcommands(app, flags);

  std::vector<std::string> arguments;
  for (int i = argc - 1; i > 0; --i) arguments.push_back(with_underscores(argv[i]));  // CLI11 takes them from the back.
  try {
    app.parse(arguments);
  } catch (const CLI::CallForVersion&) {
    parsed.only_print = true;
    parsed.text = "distmnist " DISTMNIST_VERSION "\n";
    return parsed;
  } catch (const CLI::Success&) {  // --help
    parsed.only_print = true;
    const CLI::App* asked = &app;
    for (const CLI::App* subcommand : app.get_subcommands()) asked = subcommand;
    parsed.text = asked->help();
    return parsed;
  } catch (const CLI::ParseError& error) {
    fail(ExitCode::kUsage, "{}; see distmnist --help", error.what());
  }
  check_values(flags);
  return parsed;
}

std::string to_toml(const Flags& flags) {
  return fmt::format(
      "# The flags of this run; distmnist --config takes this file.\n"
      "model = {}\nbatch_size = {}\ntrain_steps = {}\noptimizer = {}\nlearning_rate = {}\nmomentum = {}\nlog_every = {}\n"
      "seed = {}\nplacement = {}\nsave_model_secs = {}\nmax_to_keep = {}\nrecovery_wait_secs = {}\n",
      quoted(flags.model), flags.batch_size, flags.train_steps, quoted(flags.optimizer), flags.learning_rate, flags.momentum,
      flags.log_every, flags.seed, quoted(flags.placement), flags.save_model_secs, flags.max_to_keep, flags.recovery_wait_secs);
}

OptimizerSpec optimizer_of(const Flags& flags) {
  OptimizerSpec spec;
  spec.kind = parse_optimizer(flags.optimizer);
  spec.learning_rate = static_cast<float>(flags.learning_rate);
  spec.momentum = static_cast<float>(flags.momentum);
  return spec;
}

}  // namespace distmnist
