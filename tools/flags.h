// The flags of a command line, parsed: one part for each subject. flag_table.h has what they are called.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/augment.h"
#include "lib/backend/backend.h"
#include "lib/base/device_spec.h"
#include "lib/base/log.h"
#include "lib/base/wait_limits.h"
#include "lib/cluster/placement.h"
#include "lib/optim/learning_rate.h"
#include "lib/optim/optimizer.h"
#include "lib/ps/records/control.h"
#include "lib/ps/records/strategy.h"
#include "lib/wire/numbers.h"
#include "lib/worker/batch_size_schedule.h"
#include "tools/commands.h"

namespace distmnist {

struct ClusterFlags {
  std::string job_name;
  std::optional<int> task_index;
  std::string ps_hosts, worker_hosts;
  std::string file;   // --cluster
  std::string bind;   // where a ps listens; empty: at its address
  std::string allow;  // more addresses that a ps without keys accepts connections from; see parse_address_blocks()
  bool insecure = false;
  std::string ps_job = "ps", worker_job = "worker";
  std::optional<std::string> keys;  // the folder; not given: no keys
  std::string container;            // of a worker's run; of variable
  bool ps_stay = false;
};

// What becomes of pushes with old parameters.
struct StalenessRule {
  StalenessPolicy policy = StalenessPolicy::kKeep;
  std::int64_t drop_above = 0;
  bool operator==(const StalenessRule&) const = default;
};

struct ReplicationFlags {
  int num_workers = 1, num_ps = 1;  // of a local run
  std::optional<bool> sync_replicas;
  int replicas_to_aggregate = 0;               // 0: the number of workers
  std::optional<OnLostWorker> on_lost_worker;  // not given: shrink
  StalenessRule staleness;
  std::int64_t max_staleness = kUnboundedStaleness;
  std::int64_t warmup_steps = 0;
  double warmup_epochs = 0;
  OnNan on_nan = OnNan::kFail;

  bool sync() const { return sync_replicas.value_or(false); }
};

enum class DatasetChoice { kMnist, kSynthetic };

struct DataFlags {
  std::string data_dir;
  std::optional<DatasetChoice> dataset;  // not given: mnist where it is found, else synthetic
  bool download_only = false;
  bool other_data = false;  // evaluate
};

// With the values of --preset=seeds.
struct TrainingFlags {
  std::string preset = "seeds";  // that has given the defaults
  std::string model = "mnist_cnn";
  std::int64_t batch_size = 50;  // with a schedule: its first
  std::optional<BatchSizeSchedule> batch_size_schedule;
  std::int64_t train_steps = 5000;
  OptimizerKind optimizer = OptimizerKind::kAdam;
  std::optional<double> momentum;  // not given: the optimizer's default
  bool nesterov = false;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double learning_rate = 1e-4;
  LearningRateSchedule learning_rate_schedule = LearningRateSchedule::kConstant;
  std::int64_t decay_steps = 0;      // 0: train_steps
  std::optional<double> decay_rate;  // not given: 0.96
  std::int64_t learning_rate_warmup_steps = 0;
  Augmentation augment = Augmentation::kNone;
  std::int64_t log_every = 100;
  std::uint64_t seed = 0;

  BatchSizeSchedule batch_sizes() const { return batch_size_schedule.value_or(BatchSizeSchedule(batch_size)); }
};

enum class Replication { kBetweenGraph, kInGraph };
enum class PinChoice { kAuto, kNone };

struct DeviceFlags {
  std::optional<DeviceSpec> device;  // not given: a GPU where there is one, else /cpu:0
  Replication replication = Replication::kBetweenGraph;
  std::vector<DeviceSpec> devices;       // of the towers; empty: no towers
  int num_gpus = 0;                      // 0: no towers
  bool batch_per_tower = false;          // each tower has a batch of batch_size
  int intra_op_parallelism_threads = 0;  // 0: see num_threads()
  bool allow_soft_placement = false;     // /cpu:0 where a device or a kernel is not there
  bool log_device_placement = false;
  std::optional<double> per_process_gpu_memory_fraction;  // not given: as needed, without a limit
  bool allow_growth = false;                              // take that share as needed, not at once
  Precision precision = Precision::kF32;
  std::optional<InstructionSet> instruction_set;  // auto: the best that the processor has
  PinChoice pin = PinChoice::kAuto;
  bool show_kernels = false;  // devices
};

struct WireFlags {
  WireDtype dtype = WireDtype::kF32;
  PlacementPolicy placement = PlacementPolicy::kSplit;
  std::string place_variables;  // the rules of kManual, see placement_rules()
};

struct SupervisorFlags {  // the limits are those of WaitLimits
  std::string log_dir;
  std::int64_t save_model_secs = 600;
  int max_to_keep = 5;
  double recovery_wait_secs = 120;
  double silence_secs = 15, answer_secs = 15, stuck_secs = 60, disk_secs = 15;
  bool fresh = false;
};

enum class ProgressChoice { kAuto, kPlain, kNone };

struct ConsoleFlags {
  ProgressChoice progress = ProgressChoice::kAuto;
  LogFormat log_format = LogFormat::kText;
};

// Of reset and variable.
struct AdminFlags {
  std::optional<std::string> containers;  // reset
  bool all = false;                       // reset: all containers instead
  std::optional<VariableAction> action;   // variable
  std::string name;                       // variable
  std::optional<double> value;
  double wait_secs = 5;  // --recovery_wait_secs; a person waits for the answer
};

struct FileFlags {
  std::string checkpoint;          // inspect
  std::vector<std::string> files;  // predict
  bool raw = false;                // predict: the pixels of pictures as they are
  std::string key_folder;          // keygen
  std::string key_tasks;           // keygen: "ps:2,worker:3"; empty: those of the cluster
};

struct Flags {
  Command command = Command::kTrain;
  ClusterFlags cluster;
  ReplicationFlags replication;
  DataFlags data;
  TrainingFlags training;
  DeviceFlags devices;
  WireFlags wire;
  SupervisorFlags supervisor;
  ConsoleFlags console;
  AdminFlags admin;
  FileFlags files;
};

// What to do with a command line: run it, or print `text` (help, version) and end with kOk.
struct ParsedFlags {
  Flags flags;
  bool only_print = false;
  std::string text;
};

// Reads the arguments, and the file of --config where it is given. Flags are accepted with underscores and with dashes;
// booleans as --flag, --flag=false and --noflag. Error (kUsage): one sentence that names the flag and its value.
ParsedFlags parse_flags(int argc, const char* const* argv);

// The flags that make a run what it is, as the text of config.toml: --config takes it again.
std::string to_toml(const Flags& flags);

// Of WireFlags::place_variables. Error (kUsage): see parse_placement_rules().
std::vector<PlacementRule> placement_rules(const Flags& flags);
// The limits of --recovery_wait_secs, --silence_secs and so on.
WaitLimits wait_limits(const Flags& flags);

}  // namespace distmnist
