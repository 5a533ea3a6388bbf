#include "tools/flag_table.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "tools/flag_values.h"
#include "tools/optimizer_flags.h"
#include "tools/tower_flags.h"

namespace distmnist {
namespace {

using Commands = std::vector<Command>;

template <class T>
constexpr FlagType type_of() {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::optional<bool>>) return FlagType::kSwitch;
  if constexpr (Integer<T> || std::is_same_v<T, std::optional<int>>) return FlagType::kWholeNumber;
  if constexpr (std::is_same_v<T, double> || std::is_same_v<T, std::optional<double>>) return FlagType::kNumber;
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return FlagType::kTexts;
  return FlagType::kText;
}

// A flag that is `member` of `part`.
template <class Part, class T>
FlagRow row(std::string name, Part Flags::*part, T Part::*member, std::string help, unsigned uses = 0,
            Commands commands = {Command::kTrain}) {
  FlagRow row;
  row.name = name;
  row.help = std::move(help);
  row.type = type_of<T>();
  row.uses = uses;
  row.commands = std::move(commands);
  if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    row.set = [=](Flags& flags, const std::vector<std::string>& texts) { flags.*part.*member = texts; };
    row.get = [=](const Flags& flags) { return text_of(join(flags.*part.*member, " ")); };
  } else {
    row.set = [=](Flags& flags, const std::vector<std::string>& texts) {
      read_value(name, texts.back(), flags.*part.*member);
    };
    row.get = [=](const Flags& flags) { return text_of(flags.*part.*member); };
  }
  row.effective = [get = row.get](const Flags& flags) { return get(flags).value_or("not given"); };
  return row;
}

// The same row; the fingerprint and the preset's line show the result of `effective` as its value.
FlagRow as(FlagRow row, std::function<std::string(const Flags&)> effective) {
  row.effective = std::move(effective);
  return row;
}

struct Bounds {
  double low, high;
};

// The same row for a number within these bounds. `advice`: what the error says otherwise.
FlagRow within(const Bounds& bounds, const char* advice, FlagRow row) {
  row.check = [get = row.get, name = row.name, bounds, advice](const Flags& flags) {
    const std::optional<std::string> text = get(flags);
    if (!text) return;
    double value = 0;
    read_value(name, *text, value);
    if (!(value >= bounds.low && value <= bounds.high)) fail(ExitCode::kUsage, "{}={}: {}", name, *text, advice);
  };
  return row;
}

template <class Get>
std::function<std::string(const Flags&)> of_optimizer(Get get) {
  return [get](const Flags& flags) { return fmt::format("{}", get(optimizer_of(flags))); };
}

std::vector<FlagRow> in_group(const std::string& group, std::vector<FlagRow> rows) {
  for (FlagRow& row : rows) row.group = group;
  return rows;
}

constexpr double kMostSteps = 0x1p53, kMostSeconds = 1e9, kMostLocalTasks = 256;
constexpr unsigned kOfRun = kInConfig | kInFingerprint;
const Commands kWithPs = {Command::kTrain, Command::kReset, Command::kVariable, Command::kKeygen};
const Commands kComputing = {Command::kTrain, Command::kEvaluate, Command::kPredict, Command::kDevices};
const Commands kOfCheckpoint = {Command::kEvaluate, Command::kPredict};
const Commands kOfAdmin = {Command::kReset, Command::kVariable};

std::vector<FlagRow> arguments() {
  using F = FileFlags;
  using A = AdminFlags;
  return {
      row("FILE", &Flags::files, &F::files, "pictures (PNG, JPEG), or IDX files of images", kRequired,
          {Command::kPredict}),
      row("CHECKPOINT", &Flags::files, &F::files, ".safetensors files, or run folders: all of their checkpoints",
          kRequired, {Command::kVerify}),
      row("CHECKPOINT", &Flags::files, &F::checkpoint, "a .safetensors file, or a run folder: its newest checkpoint",
          kRequired, {Command::kInspect}),
      row("ACTION", &Flags::admin, &A::action,
          "init: create NAME with --value unless it exists; get: print its value; add: add --value to it; list: print "
          "all variables of the container, and how many floats of the model each ps holds",
          kRequired, {Command::kVariable}),
      row("NAME", &Flags::admin, &A::name, "name of the variable (for init, get and add)", 0, {Command::kVariable}),
      row("FOLDER", &Flags::files, &F::key_folder, "folder to create for the keys; it must not exist, or be empty",
          kRequired, {Command::kKeygen}),
  };
}

std::vector<FlagRow> cluster_rows() {
  using C = ClusterFlags;
  using A = AdminFlags;
  const auto cluster = &Flags::cluster;
  return {
      row("--job_name", cluster, &C::job_name, "role of this process: ps or worker (default: local training)"),
      within({0, 1e6}, "give a number from 0 up",
             row("--task_index", cluster, &C::task_index, "index of this task within its job, from 0 (default: 0)")),
      row("--ps_hosts", cluster, &C::ps_hosts,
          "host:port of every ps, comma-separated, in task order (default: localhost:2222)", 0, kWithPs),
      row("--worker_hosts", cluster, &C::worker_hosts,
          "host:port of every worker, comma-separated, in task order (default: localhost:2223, :2224 and :2225)", 0,
          {Command::kTrain, Command::kKeygen}),
      row("--cluster", cluster, &C::file, "JSON file that maps each job to its list of host:port", 0, kWithPs),
      row("--ps_job", cluster, &C::ps_job, "name of the ps job in --cluster", 0, kWithPs),
      row("--worker_job", cluster, &C::worker_job, "name of the worker job in --cluster", 0,
          {Command::kTrain, Command::kKeygen}),
      row("--bind", cluster, &C::bind,
          "address a ps listens on: 0.0.0.0, [::], an IP address or a name, with or without :port (default: its "
          "address in the cluster)"),
      row("--allow", cluster, &C::allow,
          "addresses a ps accepts connections from besides the cluster's hosts, for example 10.0.0.0/24,192.168.1.7 "
          "(default: none; with --keys, all)"),
      row("--insecure", cluster, &C::insecure, "let a ps without --keys use public addresses"),
      row("--keys", cluster, &C::keys,
          "folder with this task's keys, made by distmnist keygen (default: no keys, traffic is not encrypted)"),
      row("--keys", cluster, &C::keys, "folder with the administrator's key, if the ps tasks use --keys", 0, kOfAdmin),
      row("--container", cluster, &C::container,
          "container that holds the run's variables on ps tasks with --ps_stay (default: the default container)"),
      row("--container", cluster, &C::container, "container of the variable (default: the default container)", 0,
          {Command::kVariable}),
      row("--ps_stay", cluster, &C::ps_stay, "keep a ps running for any number of runs, each in its own --container"),
      row("--container", &Flags::admin, &A::containers,
          "containers to drop, comma-separated; \"\" is the default container", 0, {Command::kReset}),
      row("--all", &Flags::admin, &A::all, "drop all containers", 0, {Command::kReset}),
      row("--value", &Flags::admin, &A::value, "a number (default: 0 for init, 1 for add)", 0, {Command::kVariable}),
      within({0, kMostSeconds}, "give a number of seconds",
             row("--recovery_wait_secs", &Flags::admin, &A::wait_secs, "seconds to retry a ps that cannot be reached",
                 0, kOfAdmin)),
      row("--tasks", &Flags::files, &FileFlags::key_tasks,
          "number of tasks of each job, for example ps:2,worker:3; one key folder per task (default: the tasks of the "
          "cluster, one key folder per host)",
          0, {Command::kKeygen}),
  };
}

std::vector<FlagRow> replication_rows() {
  using R = ReplicationFlags;
  const auto replication = &Flags::replication;
  return {
      within({1, kMostLocalTasks}, "give 1 to 256",
             row("--num_workers", replication, &R::num_workers, "workers of a local run, as threads of this process",
                 kInConfig)),
      within(
          {1, kMostLocalTasks}, "give 1 to 256",
          row("--num_ps", replication, &R::num_ps,
              "parameter servers of a local run, as threads of this process (default: 1 if there are several workers)",
              kInConfig)),
      as(row("--sync_replicas", replication, &R::sync_replicas,
             "make each step from the mean of R gradients (default: asynchronous updates)", kOfRun),
         [](const Flags& flags) { return flags.replication.sync() ? "true" : "false"; }),
      within({0, kMaxReplicas}, "give 0 (the number of workers) to 1024",
             row("--replicas_to_aggregate", replication, &R::replicas_to_aggregate,
                 "R of --sync_replicas: gradients per step; 0: the number of workers", kOfRun)),
      as(row("--on_lost_worker", replication, &R::on_lost_worker,
             "what a synchronous run does with fewer than R workers left: wait, shrink or fail (default: shrink)",
             kOfRun),
         [](const Flags& flags) { return *text_of(flags.replication.on_lost_worker.value_or(OnLostWorker::kShrink)); }),
      row("--staleness", replication, &R::staleness,
          "what happens to gradients of old parameters: keep, drop:K (drop those older than K steps) or scale (divide "
          "the learning rate by their age)",
          kOfRun),
      within({kUnboundedStaleness, std::numeric_limits<double>::infinity()},
             "give a number of batches from 0 up, or -1 for any",
             row("--max_staleness", replication, &R::max_staleness,
                 "batches a worker may be ahead of the slowest worker; -1: no limit", kOfRun)),
      within({0, kMostSteps}, "give 0 to 2^53 steps",
             row("--warmup_steps", replication, &R::warmup_steps,
                 "global steps that worker 0 trains alone at the start", kOfRun)),
      within({0, 1e6}, "give 0 to 1000000 passes",
             row("--warmup_epochs", replication, &R::warmup_epochs,
                 "the same as --warmup_steps, in passes through the training set", kOfRun)),
      row("--on_nan", replication, &R::on_nan,
          "what happens on a gradient or loss that is not finite: fail (end the run with exit code 8) or skip (drop "
          "it)",
          kOfRun),
  };
}

std::vector<FlagRow> data_rows() {
  using D = DataFlags;
  const Commands reading = {Command::kTrain, Command::kEvaluate};
  return {
      row("--data_dir", &Flags::data, &D::data_dir,
          "folder with the MNIST files, plain or .gz, or with MNIST/raw inside (default: the cache)", kInConfig,
          reading),
      row("--dataset", &Flags::data, &D::dataset,
          "mnist or synthetic (default: mnist if it is found, otherwise synthetic)", kInConfig, reading),
      row("--download_only", &Flags::data, &D::download_only, "download MNIST into the cache, then exit"),
      row("--other_data", &Flags::data, &D::other_data, "allow data that the run was not trained on", 0,
          {Command::kEvaluate}),
  };
}

std::vector<FlagRow> training_rows() {
  using T = TrainingFlags;
  const auto training = &Flags::training;
  return {
      row("--preset", training, &T::preset,
          "set of defaults for the training flags and --precision: seeds (those shown here), fast (99.0 % in the "
          "shortest time) or best (99.4 %)"),
      row("--model", training, &T::model, "network to train: mnist_cnn, mlp or softmax", kOfRun),
      within({1, kLargestBatchSize}, "give 1 to 1048576 samples",
             as(row("--batch_size", training, &T::batch_size, "samples per step and worker; see --batch_per_tower",
                    kInConfig | kInPreset),
                [](const Flags& flags) { return flags.training.batch_sizes().to_string(); })),
      row("--batch_size_schedule", training, &T::batch_size_schedule,
          "batch sizes by global step, for example 0:50,1000:100 (default: always --batch_size)", kInConfig),
      within({1, kMostSteps}, "give 1 to 2^53 steps",
             row("--train_steps", training, &T::train_steps, "global step at which training ends", kOfRun | kInPreset)),
      row("--optimizer", training, &T::optimizer, optimizer_choices(), kOfRun | kInPreset),
      as(row("--momentum", training, &T::momentum,
             "momentum of the optimizers momentum (default: 0.9) and rmsprop (default: 0)", kOfRun),
         of_optimizer([](const OptimizerSpec& spec) { return spec.momentum; })),
      as(row("--nesterov", training, &T::nesterov, "use Nesterov momentum, with --optimizer=momentum", kOfRun),
         of_optimizer([](const OptimizerSpec& spec) { return spec.nesterov; })),
      as(row("--adam_beta1", training, &T::adam_beta1, "decay rate of Adam's mean of the gradients",
             kOfRun | kInPreset),
         of_optimizer([](const OptimizerSpec& spec) { return spec.beta1; })),
      as(row("--adam_beta2", training, &T::adam_beta2, "decay rate of Adam's mean of the squared gradients",
             kOfRun | kInPreset),
         of_optimizer([](const OptimizerSpec& spec) { return spec.beta2; })),
      row("--learning_rate", training, &T::learning_rate, "largest learning rate of the schedule", kOfRun | kInPreset),
      row("--learning_rate_schedule", training, &T::learning_rate_schedule,
          "learning rate over the global steps: constant, exponential, staircase, cosine or one_cycle",
          kOfRun | kInPreset),
      as(row("--decay_steps", training, &T::decay_steps, "steps of the learning rate schedule; 0: --train_steps",
             kOfRun),
         of_optimizer([](const OptimizerSpec& spec) { return spec.learning_rate.decay_steps; })),
      as(row("--decay_rate", training, &T::decay_rate,
             "factor per --decay_steps of the schedules exponential and staircase (default: 0.96)", kOfRun),
         of_optimizer([](const OptimizerSpec& spec) { return spec.learning_rate.decay_rate; })),
      row("--learning_rate_warmup_steps", training, &T::learning_rate_warmup_steps,
          "steps over which the learning rate rises from 0 at the start", kOfRun | kInPreset),
      row("--augment", training, &T::augment,
          "random changes to the training images, different in every pass: none, or affine (shift, rotate, scale, "
          "shear)",
          kOfRun | kInPreset),
      within({1, kMostSteps}, "give 1 to 2^53 steps",
             row("--log_every", training, &T::log_every, "global steps between two lines of progress", kInConfig)),
      row("--seed", training, &T::seed, "seed of the weights, the data order and dropout", kOfRun),
      row("--model", training, &T::model, "network: mnist_cnn, mlp or softmax", 0, {Command::kDevices}),
  };
}

std::vector<FlagRow> device_rows() {
  using D = DeviceFlags;
  const auto devices = &Flags::devices;
  return {
      row("--device", devices, &D::device,
          "device to compute on: /cpu:0, /gpu:1, /device:REFERENCE:0 (default: /gpu:0 if there is one, otherwise "
          "/cpu:0)",
          kInConfig, kComputing),
      row("--precision", devices, &D::precision,
          "number format of products: f32, tf32, bf16, or auto (the fastest of the device); sums and variables are f32",
          kInConfig | kInPreset, kComputing),
      row("--allow_soft_placement", devices, &D::allow_soft_placement,
          "use /cpu:0 if a device, or a kernel on it, is missing (default: stop with an error)", kInConfig, kComputing),
      row("--per_process_gpu_memory_fraction", devices, &D::per_process_gpu_memory_fraction,
          "share of a GPU's memory to allocate at the start, above 0 and at most 1 (default: allocate as needed)",
          kInConfig, kComputing),
      row("--allow_growth", devices, &D::allow_growth,
          "allocate GPU memory as needed, up to --per_process_gpu_memory_fraction", kInConfig, kComputing),
      row("--instruction_set", devices, &D::instruction_set,
          "instruction set of the CPU kernels: portable, avx2, avx512, amx, or auto (the best of the processor)",
          kInConfig, kComputing),
      within({0, 1024}, "give 0 (automatic) to 1024 threads",
             row("--intra_op_parallelism_threads", devices, &D::intra_op_parallelism_threads,
                 "threads of this task; 0: OMP_NUM_THREADS if it is set, otherwise the cores available to the process "
                 "divided by the workers on this host (for a ps, by all tasks on this host)",
                 kInConfig, kComputing)),
      row("--pin", devices, &D::pin,
          "auto: give each worker of a host its own cores if their threads use all cores exactly; none: use any core",
          kInConfig),
      row("--log_device_placement", devices, &D::log_device_placement,
          "log the device of every variable, layer and gradient"),
      row("--replication", devices, &D::replication,
          "between_graph: replicas are tasks of a cluster; in_graph: replicas are towers of this process", kInConfig),
      row("--devices", devices, &D::devices,
          "devices that share the batch of each step, one tower on each: /gpu:0,/gpu:1 or /cpu:0,/cpu:1 (any number of "
          "CPU devices)",
          kInConfig),
      row("--num_gpus", devices, &D::num_gpus, "short for --devices=/gpu:0,/gpu:1,...; 0: no towers", kInConfig),
      row("--batch_per_tower", devices, &D::batch_per_tower,
          "give each tower a batch of --batch_size samples (default: towers share one batch)", kInConfig),
      row("--kernels", devices, &D::show_kernels, "print what computes each layer of --model on --device", 0,
          {Command::kDevices}),
  };
}

std::vector<FlagRow> wire_rows() {
  using W = WireFlags;
  return {
      row("--wire_dtype", &Flags::wire, &W::dtype,
          "number format of gradients and parameters between workers and ps: f32, bf16 or f16", kOfRun),
      row("--placement", &Flags::wire, &W::placement,
          "how variables are distributed over ps tasks: split, round_robin, load_balanced or manual", kOfRun),
      row("--place_variables", &Flags::wire, &W::place_variables,
          "rules of --placement=manual, of which the first that matches counts: 'conv1/*=/job:ps/task:0,...'", kOfRun),
  };
}

std::vector<FlagRow> supervisor_rows() {
  constexpr const char* kSomeTime = "give at least 0.1 seconds";
  using S = SupervisorFlags;
  const auto supervisor = &Flags::supervisor;
  return {
      row("--log_dir", supervisor, &S::log_dir,
          "run folder for checkpoints, metrics.csv and config.toml (default: write no files)"),
      row("--log_dir", supervisor, &S::log_dir, "run folder, or a checkpoint file", kRequired, kOfCheckpoint),
      within({1, kMostSeconds}, "give 1 to 1000000000 seconds",
             row("--save_model_secs", supervisor, &S::save_model_secs, "seconds between two checkpoints", kInConfig)),
      within({0, 1e6}, "give 0 (all) or a number of checkpoints",
             row("--max_to_keep", supervisor, &S::max_to_keep, "newest checkpoints to keep; 0: all", kInConfig)),
      within({0, kMostSeconds}, "give a number of seconds",
             row("--recovery_wait_secs", supervisor, &S::recovery_wait_secs,
                 "seconds to wait for a peer that is lost or not ready", kInConfig)),
      within({1, kMostSeconds}, "give at least 1 second",
             row("--silence_secs", supervisor, &S::silence_secs,
                 "seconds of silence after which a peer counts as lost; the same for all tasks", kInConfig)),
      within({2, kMostSeconds}, "give at least 2 seconds",
             row("--answer_secs", supervisor, &S::answer_secs,
                 "seconds after which a request without an answer is repeated", kInConfig)),
      within({0.1, kMostSeconds}, kSomeTime,
             row("--stuck_secs", supervisor, &S::stuck_secs,
                 "seconds without progress, and at least 10 times the median, after which a step counts as stuck",
                 kInConfig)),
      within(
          {0.1, kMostSeconds}, kSomeTime,
          row("--disk_secs", supervisor, &S::disk_secs,
              "seconds after which a disk that does not answer is reported, and given up after a signal", kInConfig)),
      row("--fresh", supervisor, &S::fresh, "move the old run in --log_dir aside and start a new one"),
  };
}

std::vector<FlagRow> console_rows() {
  using C = ConsoleFlags;
  const Commands commands = {Command::kTrain,   Command::kEvaluate, Command::kPredict,
                             Command::kInspect, Command::kVerify,   Command::kDevices};
  return {
      row("--progress", &Flags::console, &C::progress,
          "how progress is shown: auto (one line on a terminal), plain (lines of the log) or none", 0, commands),
      row("--log_format", &Flags::console, &C::log_format, "format of the log: text or json", 0, commands),
      row("--raw", &Flags::files, &FileFlags::raw, "use the pixels of 28x28 pictures unchanged: 0 background, 255 ink",
          0, {Command::kPredict}),
  };
}

std::vector<FlagRow> make_table() {
  std::vector<FlagRow> table;
  const auto add = [&](const std::string& group, std::vector<FlagRow> rows) {
    for (FlagRow& row : in_group(group, std::move(rows))) table.push_back(std::move(row));
  };
  add("arguments", arguments());
  add("training", training_rows());
  add("data", data_rows());
  add("supervisor", supervisor_rows());
  add("cluster", cluster_rows());
  add("replication", replication_rows());
  add("wire", wire_rows());
  add("devices", device_rows());
  add("console", console_rows());
  return table;
}

}  // namespace

bool FlagRow::is_for(Command command) const {
  return std::ranges::find(commands, command) != commands.end();
}

const std::vector<FlagRow>& flag_table() {
  static const std::vector<FlagRow> table = make_table();
  return table;
}

const std::vector<CommandRow>& command_table() {
  static const std::vector<CommandRow> table = {
      {Command::kTrain, "", "train on this machine, or be one task of a cluster", nullptr,
       kFinishesItsWork | kComputes},
      {Command::kEvaluate, "evaluate", "print accuracy, loss and confusion matrix of the newest checkpoint",
       evaluate_command, kComputes},
      {Command::kPredict, "predict", "print class and probabilities of images, by the newest checkpoint",
       predict_command, kComputes},
      {Command::kInspect, "inspect", "print the contents of a checkpoint file", inspect_command},
      {Command::kVerify, "verify", "check every byte of checkpoint files", verify_command},
      {Command::kDevices, "devices", "print the devices of this host, and what runs on which of them", devices_command},
      {Command::kReset, "reset", "drop containers on every ps, and end the runs in them", reset_command,
       kFinishesItsWork},
      {Command::kVariable, "variable", "read or change shared variables on ps tasks that run with --ps_stay",
       variable_command, kFinishesItsWork},
      {Command::kKeygen, "keygen", "make the keys of a cluster's tasks, for --keys", keygen_command, kFinishesItsWork},
  };
  return table;
}

const CommandRow& row_of(Command command) {
  return *std::ranges::find(command_table(), command, &CommandRow::command);
}

Fingerprint fingerprint_of_flags(const Flags& flags) {
  Fingerprint out;
  for (const FlagRow& row : flag_table()) {
    if ((row.uses & kInFingerprint) != 0) out.emplace_back(row.name, row.effective(flags));
  }
  return out;
}

std::string describe_preset_values(const Flags& flags) {
  std::vector<std::string> values;
  for (const FlagRow& row : flag_table()) {
    if ((row.uses & kInPreset) == 0) continue;
    if (row.name.starts_with("--adam_") && flags.training.optimizer != OptimizerKind::kAdam) continue;
    values.push_back(fmt::format("{} {}", row.bare_name(), row.effective(flags)));
  }
  return join(values, ", ");
}

}  // namespace distmnist
