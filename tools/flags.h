// The command line: every flag with its default, and which subcommand was asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/log.h"
#include "lib/worker/batch_size_schedule.h"

namespace distmnist {

enum class Command { kTrain, kEvaluate, kPredict, kInspect, kReset, kVariable, kKeygen, kDevices };

struct Flags {
  Command command = Command::kTrain;

  // cluster
  std::string job_name;
  int task_index = 0;
  bool task_index_given = false;
  std::string ps_hosts, worker_hosts;
  std::string cluster;  // a file
  std::string bind;     // where a ps listens; empty: at its address
  std::string allow;    // more addresses that a ps without keys takes connections from, as of parse_address_blocks()
  bool insecure = false;
  std::string ps_job = "ps", worker_job = "worker";
  std::optional<std::string> keys;  // the folder; not given: everybody is heard
  std::string container;            // of a worker's run; of variable
  bool ps_stay = false;

  // replication
  int num_workers = 1, num_ps = 1;  // of a local run
  bool sync_replicas = false;
  bool sync_replicas_given = false;
  int replicas_to_aggregate = 0;    // 0: the number of workers
  std::string on_lost_worker;       // empty: shrink
  std::string staleness = "keep";   // keep, drop:K, scale
  std::int64_t max_staleness = -1;  // -1: unbounded
  std::int64_t warmup_steps = 0;
  double warmup_epochs = 0;
  std::string on_nan = "fail";  // or skip

  // data
  std::string data_dir;
  std::string dataset;  // empty: mnist where it is found, else synthetic
  bool download_only = false;
  bool other_data = false;  // evaluate

  // training; the values of --preset=seeds
  std::string preset = "seeds";  // which preset has given the defaults
  std::string model = "mnist_cnn";
  std::int64_t batch_size = 50;     // with a schedule: its first
  std::string batch_size_schedule;  // empty: batch_size throughout
  std::int64_t train_steps = 5000;
  std::string optimizer = "adam";
  std::optional<double> momentum;  // not given: the optimizer's default
  bool nesterov = false;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double learning_rate = 1e-4;
  std::string learning_rate_schedule = "constant";
  std::int64_t decay_steps = 0;      // 0: train_steps
  std::optional<double> decay_rate;  // not given: 0.96
  std::int64_t learning_rate_warmup_steps = 0;
  std::string augment = "none";  // as of parse_augmentation()
  std::int64_t log_every = 100;
  std::uint64_t seed = 0;

  // devices
  std::string device;                         // empty: a GPU where there is one, else /cpu:0
  std::string replication = "between_graph";  // or "in_graph"
  std::string devices;                        // of the towers, comma-separated; empty: no towers
  int num_gpus = 0;                           // 0: no towers
  bool batch_per_tower = false;               // each tower has a batch of batch_size
  int intra_op_parallelism_threads = 0;       // 0: as of num_threads()
  bool allow_soft_placement = false;          // /cpu:0 where a device or a kernel is not there
  bool log_device_placement = false;
  std::optional<double> per_process_gpu_memory_fraction;  // not given: as needed, without a limit
  bool allow_growth = false;                              // take that share as needed, not at once
  std::string precision = "f32";                          // as of parse_precision()
  std::string instruction_set = "auto";                   // or as of parse_instruction_set()
  std::string pin = "auto";                               // or "none"

  // wire
  std::string wire_dtype = "f32";  // or bf16, f16
  std::string placement = "split";
  std::string place_variables;  // the rules of placement "manual"

  // supervisor
  std::string log_dir;
  std::int64_t save_model_secs = 600;
  int max_to_keep = 5;
  double recovery_wait_secs = 120;
  bool fresh = false;

  // console
  std::string progress = "auto";
  std::string log_format = "text";

  // of the subcommands
  std::string checkpoint;                       // inspect
  std::vector<std::string> files;               // predict
  bool raw = false;                             // predict: the pixels of pictures as they are
  std::optional<std::string> reset_containers;  // reset
  bool reset_all = false;                       // reset: all containers instead
  std::string variable_action, variable_name;   // variable
  std::optional<double> variable_value;
  double admin_wait_secs = 5;  // reset, variable: --recovery_wait_secs; a person waits for the answer
  bool show_kernels = false;   // devices
  std::string keygen_folder;
  std::string keygen_tasks;  // "ps:2,worker:3"; empty: those of the cluster
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

// Of --batch_size_schedule, else of --batch_size. Error: as BatchSizeSchedule::parse.
BatchSizeSchedule batch_sizes_of(const Flags& flags);

}  // namespace distmnist
