// A worker, or local training: puts the parts together and runs the loop.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>

#include "lib/backend/backend.h"
#include "lib/base/clock.h"
#include "lib/base/device_spec.h"
#include "lib/base/log.h"
#include "lib/cluster/placement.h"
#include "lib/ps/in_process_client.h"
#include "lib/ps/remote_client.h"
#include "lib/supervisor/metrics_writer.h"
#include "lib/supervisor/run_folder.h"
#include "lib/supervisor/supervisor.h"
#include "lib/worker/console.h"
#include "lib/worker/training.h"
#include "models/models.h"
#include "tools/commands.h"
#include "tools/data_source.h"
#include "tools/device.h"
#include "tools/environment.h"
#include "tools/signals.h"

namespace distmnist {
namespace {

// Later processes of a task have larger ones, on one host's clock at least.
std::uint64_t nanoseconds_since_1970() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

Fingerprint fingerprint_of(const Flags& flags, const Graph& graph, const TrainAndTest& data) {
  return {{"the version of distmnist", DISTMNIST_VERSION},
          {"--model", flags.model},
          {"the network", describe(graph)},
          {"the data", data_fingerprint(data)},
          {"--batch_size", std::to_string(flags.batch_size)},
          {"--train_steps", std::to_string(flags.train_steps)},
          {"--optimizer", flags.optimizer},
          {"--learning_rate", fmt::format("{}", flags.learning_rate)},
          {"--momentum", fmt::format("{}", flags.momentum)},
          {"--seed", std::to_string(flags.seed)},
          {"--placement", flags.placement}};
}

std::vector<NamedRange> named_ranges(const Graph& graph) {
  std::vector<NamedRange> out;
  for (const Variable& variable : graph.variables) out.push_back({variable.name, variable.range});
  return out;
}

std::unique_ptr<ParameterClient> make_client(const Flags& flags, const std::optional<Place>& place, const Graph& graph,
                                             const TrainAndTest& data) {
  if (!place) {
    std::vector<Range> ranges;
    for (const Variable& variable : graph.variables) ranges.push_back(variable.range);
    return std::make_unique<InProcessClient>(std::move(ranges));
  }
  RemoteClientConfig config;
  config.ps = place->cluster.ps;
  config.plan =
      distmnist::place(named_ranges(graph), static_cast<int>(config.ps.size()), parse_placement(flags.placement));
  config.num_parameters = graph.num_parameters;
  config.worker = static_cast<std::uint32_t>(place->task.index);
  config.container = flags.container;
  config.num_workers = static_cast<std::uint32_t>(place->cluster.workers.size());
  config.chief = place->task.index == 0;
  config.incarnation = config.new_run = nanoseconds_since_1970();
  config.optimizer = optimizer_of(flags);
  config.fingerprint = fingerprint_of(flags, graph, data);
  config.recovery_wait_ms = static_cast<TimeMs>(flags.recovery_wait_secs * 1000);
  config.stop_requested = [] { return signal_received().has_value(); };
  if (config.chief) {
    for (const std::string& line : describe(config.plan)) log_info("placement: {}", line);
  }
  return std::make_unique<RemoteClient>(std::move(config));
}

int num_threads(const Flags& flags, const std::optional<Place>& place) {
  if (flags.intra_op_parallelism_threads > 0) return flags.intra_op_parallelism_threads;
  const int local_tasks =
      place ? tasks_on_same_host(place->cluster.workers, static_cast<std::size_t>(place->task.index)) : 1;
  return std::max(1, num_cores() / local_tasks);
}

ProgressStyle progress_style(const Flags& flags, bool chief) {
  // One task of a job shows progress: several on one terminal would write over each other.
  if (flags.progress == "none" || !chief) return ProgressStyle::kNone;
  return flags.progress == "auto" && isatty(STDERR_FILENO) != 0 ? ProgressStyle::kLine : ProgressStyle::kPlain;
}

void require_fitting_data(const Graph& graph, const TrainAndTest& data, const Flags& flags) {
  if (data.train.image_size() != graph.input.size()) {
    fail(ExitCode::kData, "--model={} takes {} pixels per image, {} has {}", flags.model, graph.input.size(),
         data.description, data.train.image_size());
  }
  if (flags.batch_size > data.train.count) {
    fail(ExitCode::kUsage, "--batch_size={}: larger than the training set of {} images; choose at most that",
         flags.batch_size, data.train.count);
  }
}

}  // namespace

ExitCode train(const Flags& flags, const std::optional<Place>& place, double started_s) {
  const TaskId task = place ? place->task : TaskId{"worker", 0};
  const bool chief = task.index == 0;
  const Graph graph = make_model(flags.model);
  const LoadedData loaded = load_data(flags);
  require_fitting_data(graph, loaded.data, flags);
  CompileOptions options;
  options.max_batch_size = flags.batch_size;
  options.threads = num_threads(flags, place);
  options.seed = flags.seed;
  options.stream = static_cast<std::uint64_t>(task.index);
  const std::unique_ptr<Backend> backend = make_device_backend(flags);
  // The client goes before the executor: messages under way read its gradients.
  const std::unique_ptr<Executor> executor = backend->compile(graph, options);
  log_info("model {}: {} parameters, backend {}, {} threads", flags.model, graph.num_parameters, backend->name(),
           options.threads);
  const std::unique_ptr<ParameterClient> client = make_client(flags, place, graph, loaded.data);

  // Nothing is written, and no old run moved aside, before flags and data have turned out right.
  std::optional<RunFolder> folder;
  std::optional<MetricsWriter> metrics;
  if (!flags.log_dir.empty()) {
    folder.emplace(task_folder(flags.log_dir, task, chief), flags.fresh);
    metrics.emplace(folder->path() / "metrics.csv");
  }

  SupervisorConfig supervision;
  supervision.chief = chief;
  supervision.identity = {flags.model, describe(graph), graph.variables, optimizer_of(flags)};
  supervision.seed = flags.seed;
  supervision.run_id = nanoseconds_since_1970();
  supervision.config = to_toml(flags);
  supervision.save_every_ms = flags.save_model_secs * 1000;
  supervision.max_to_keep = flags.max_to_keep;
  Supervisor supervisor(std::move(supervision), graph, *client, folder ? &*folder : nullptr);
  Console console(task.index, progress_style(flags, chief), flags.train_steps);

  TrainingConfig config;
  config.task_index = task.index;
  config.chief = chief;
  config.batch_size = flags.batch_size;
  config.train_steps = flags.train_steps;
  config.log_every = flags.log_every;
  config.seed = flags.seed;
  config.recovery_wait_ms = static_cast<TimeMs>(flags.recovery_wait_secs * 1000);
  config.started_s = started_s;
  const TrainingParts parts{loaded.data, *executor, graph.output().size(),         *client,
                            supervisor,  console,   metrics ? &*metrics : nullptr, signal_received};
  return run_training(config, parts);
}

}  // namespace distmnist
