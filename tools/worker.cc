#include "tools/worker.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/ranges.h>

#include "lib/backend/backend.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/unguessable.h"
#include "lib/cluster/placement.h"
#include "lib/ps/client/in_process_client.h"
#include "lib/ps/client/remote_client.h"
#include "lib/supervisor/background_metrics.h"
#include "lib/supervisor/run_folder.h"
#include "lib/supervisor/supervisor.h"
#include "lib/wire/numbers.h"
#include "lib/worker/console.h"
#include "lib/worker/device_placement.h"
#include "lib/worker/resident_client.h"
#include "lib/worker/training.h"
#include "tools/environment.h"
#include "tools/flag_table.h"
#include "tools/flag_values.h"
#include "tools/num_threads.h"
#include "tools/optimizer_flags.h"
#include "tools/pinning.h"
#include "tools/replication_flags.h"
#include "tools/tower_flags.h"

namespace distmnist {
namespace {

// What a worker must have in common with its chief. Flags come before what follows from them, because the first
// difference is the one that is reported.
Fingerprint fingerprint_of(const Job& job) {
  Fingerprint out = {{"the version of distmnist", DISTMNIST_VERSION},
                     {"the batch per step (--batch_size)", step_batch_sizes(job.flags).to_string()}};
  for (auto& flag : fingerprint_of_flags(job.flags)) out.push_back(std::move(flag));
  out.emplace_back("the network", describe(job.graph));
  out.emplace_back("the data", describe(job.data_identity));
  return out;
}

std::vector<NamedRange> named_ranges(const Graph& graph) {
  std::vector<NamedRange> out;
  for (const Variable& variable : graph.variables) out.push_back({variable.name, variable.range});
  return out;
}

PlacementPlan make_plan(const Flags& flags, const Graph& graph, int num_ps) {
  std::vector<PlacementRule> rules;
  if (flags.wire.placement == PlacementPolicy::kManual) rules = placement_rules(flags);
  return place(named_ranges(graph), num_ps, flags.wire.placement, rules);
}

// Watches the computation of a worker for which others wait; otherwise null.
std::unique_ptr<Watchdog> make_watchdog(const Job& job, const WorkerSeat& seat) {
  if (seat.ps.empty()) return nullptr;
  const WaitLimits limits = wait_limits(job.flags);
  return std::make_unique<Watchdog>(
      Watchdog::Config{limits.stuck_ms, limits.recovery_wait_ms, [](const Stuck& stuck) {
                         log_error("error: the computation has made no progress for {} s, last step {}; exit {}",
                                   stuck.for_ms / 1000, stuck.step, static_cast<int>(ExitCode::kLostPeer));
                         // The thread that would end the process in good order is the one that hangs.
                         std::_Exit(static_cast<int>(ExitCode::kLostPeer));
                       }});
}

// The folder of a worker.
struct Folder {
  std::optional<RunFolder> own;
  std::string conflict;  // as in RemoteClientConfig
};

// Where another process holds the folder of worker 0, another worker may have become the chief meanwhile. Worker 0 is
// then a worker like the others, with a folder like theirs.
Folder open_folder(const Flags& flags, const WorkerSeat& seat) {
  Folder out;
  const std::string& log_dir = flags.supervisor.log_dir;
  if (log_dir.empty()) return out;
  try {
    out.own.emplace(task_folder(log_dir, seat.task, seat.is_chief()), flags.supervisor.fresh);
  } catch (const Error& error) {
    const bool may_follow = seat.is_chief() && !seat.ps.empty() && seat.context == nullptr;
    if (error.code() != ExitCode::kConflict || !may_follow) throw;
    out.conflict = error.what();
    out.own.emplace(task_folder(log_dir, seat.task, false), flags.supervisor.fresh);
  }
  return out;
}

// What a client needs besides the job.
struct ClientParts {
  const Strategy& strategy;
  const PlacementPlan& plan;
  Watchdog* watchdog;
  std::string conflict;
  std::function<bool(bool)> can_lead;
};

std::unique_ptr<ParameterClient> make_client(const Job& job, const WorkerSeat& seat, const ClientParts& needs) {
  const Flags& flags = job.flags;
  if (seat.ps.empty()) {
    return std::make_unique<InProcessClient>(named_ranges(job.graph), optimizer_of(flags), flags.replication.on_nan);
  }
  RemoteClientConfig config;
  config.ps = seat.ps;
  config.endpoints = seat.endpoints;
  config.context = seat.context;
  config.keys = seat.keys;
  config.plan = needs.plan;
  config.num_parameters = job.graph.num_parameters;
  config.worker = static_cast<std::uint32_t>(seat.task.index);
  config.container = flags.cluster.container;
  config.num_workers = seat.num_workers;
  config.chief = seat.is_chief() && needs.conflict.empty();
  config.conflict = needs.conflict;
  config.can_lead = needs.can_lead;
  config.incarnation = unguessable_number();
  config.optimizer = optimizer_of(flags);
  config.strategy = needs.strategy;
  config.wire_dtype = flags.wire.dtype;
  config.fingerprint = fingerprint_of(job);
  config.limits = wait_limits(flags);
  config.stop_requested = [&seat] { return seat.stop_signal().has_value(); };
  config.stuck = [watchdog = needs.watchdog] { return watchdog->stuck(); };
  config.beat = [watchdog = needs.watchdog] { watchdog->beat(); };
  if (config.chief) {
    for (const std::string& line : describe(config.plan)) log_info("placement: {}", line);
  }
  return std::make_unique<RemoteClient>(std::move(config));
}

// Null if training cannot stay on the device.
std::unique_ptr<ResidentClient> make_resident_client(const Job& job, const WorkerSeat& seat, Executor& executor) {
  ResidentTraining* training = executor.resident_training();
  if (!seat.ps.empty() || seat.num_workers != 1 || training == nullptr) return nullptr;
  if (job.flags.training.augment != Augmentation::kNone) {
    log_info("--augment={}: the host makes new images for each step, so training does not stay on the device",
             *text_of(job.flags.training.augment));
    return nullptr;
  }
  if (job.flags.replication.on_nan == OnNan::kSkip) {
    log_info("--on_nan=skip: the host looks at each gradient, so training does not stay on the device");
    return nullptr;
  }
  const ImageSet& train = job.data.train;
  if (!training->keep_samples({train.count, train.pixels, train.labels})) {
    log_info("the training images do not fit on the device; each batch is sent there separately");
    return nullptr;
  }
  log_info("training stays on the device, with all {} training images", train.count);
  return std::make_unique<ResidentClient>(executor, job.graph.num_parameters, optimizer_of(job.flags));
}

void pin(const WorkerSeat& seat, int threads) {
  const std::vector<int> cores =
      cores_of_worker(usable_cores(), seat.num_sharing_cores, seat.place_among_them, threads);
  if (!cores.empty() && pin_thread(cores))
    log_info("on core{} {} (--pin=none: on any)", cores.size() == 1 ? "" : "s", fmt::join(cores, ", "));
}

// The task part of device names. Without ps tasks, the process is not a task of a job.
DeviceSpec own_task(const WorkerSeat& seat) {
  DeviceSpec own = local_task();
  if (seat.ps.empty()) return own;
  own.job = seat.task.job;
  own.task = seat.task.index;
  return own;
}

void log_placement(const Job& job, const WorkerSeat& seat, const std::vector<DeviceSpec>& devices) {
  PlacementPlan plan;
  if (!seat.ps.empty()) plan = make_plan(job.flags, job.graph, static_cast<int>(seat.ps.size()));
  for (const std::string& line : device_placement(job.graph, devices, plan)) log_info("{}", line);
}

ProgressStyle progress_style(const Flags& flags, bool chief) {
  // Only one task of a job shows progress: several on one terminal would overwrite each other.
  if (flags.console.progress == ProgressChoice::kNone || !chief) return ProgressStyle::kNone;
  return flags.console.progress == ProgressChoice::kAuto && isatty(STDERR_FILENO) != 0 ? ProgressStyle::kLine
                                                                                       : ProgressStyle::kPlain;
}

std::int64_t warmup_steps_of(const Job& job) {
  const ReplicationFlags& given = job.flags.replication;
  if (!(given.warmup_epochs > 0)) return given.warmup_steps;
  return steps_of_epochs(given.warmup_epochs, job.data.train.count, step_batch_sizes(job.flags));
}

SupervisorConfig supervision_of(const Job& job, const WorkerSeat& seat) {
  const Flags& flags = job.flags;
  SupervisorConfig supervision;
  supervision.log_dir = flags.supervisor.log_dir;
  supervision.identity = {flags.training.model, describe(job.graph), job.graph.variables, optimizer_of(flags)};
  supervision.data = job.data_identity;
  supervision.data_source = job.data_source;
  supervision.seed = flags.training.seed;
  supervision.run_id = unguessable_number();
  supervision.limits = wait_limits(flags);
  supervision.stop_requested = [&seat] { return seat.stop_signal().has_value(); };
  supervision.config = job.config;
  supervision.save_every_ms = flags.supervisor.save_model_secs * 1000;
  supervision.max_to_keep = flags.supervisor.max_to_keep;
  return supervision;
}

TrainingConfig training_of(const Job& job, const WorkerSeat& seat, const Strategy& strategy) {
  const Flags& flags = job.flags;
  TrainingConfig config;
  config.task_index = seat.task.index;
  config.batch_sizes = step_batch_sizes(flags);
  config.batches_per_step = strategy.sync ? strategy.replicas_to_aggregate : 1;
  config.train_steps = flags.training.train_steps;
  config.log_every = flags.training.log_every;
  config.seed = flags.training.seed;
  config.augmentation = flags.training.augment;
  config.on_nan = strategy.on_nan;
  config.recovery_wait_ms = wait_limits(flags).recovery_wait_ms;
  config.started_s = job.started_s;
  return config;
}

}  // namespace

ExitCode run_worker(const Job& job, const WorkerSeat& seat) {
  const Flags& flags = job.flags;
  CompileOptions options;
  options.max_batch_size = step_batch_sizes(flags).largest();
  options.threads = num_threads(flags, seat.num_sharing_cores);
  options.seed = flags.training.seed;
  options.stream = static_cast<std::uint64_t>(seat.task.index);
  if (flags.devices.pin == PinChoice::kAuto) pin(seat, options.threads);  // Before any of its threads start.
  log_info("model {}: {} parameters", flags.training.model, job.graph.num_parameters);
  // The client must be destroyed before the executor: messages in flight read its gradients.
  const DeviceExecutor computing = job.devices.make_executor(flags, own_task(seat), job.graph, options);
  const std::unique_ptr<Executor>& executor = computing.executor;
  if (flags.devices.log_device_placement) log_placement(job, seat, computing.devices);
  const Strategy strategy = strategy_of(flags, seat.num_workers, warmup_steps_of(job));
  const std::unique_ptr<ResidentClient> resident = make_resident_client(job, seat, *executor);
  PlacementPlan plan;
  if (!seat.ps.empty()) plan = make_plan(flags, job.graph, static_cast<int>(seat.ps.size()));
  // Write nothing, and move no old run aside, until the flags and data have been checked.
  const Folder folder = open_folder(flags, seat);
  std::optional<BackgroundMetrics> metrics;
  if (folder.own) metrics.emplace(folder.own->path() / "metrics.csv");

  std::optional<Supervisor> supervisor;
  const std::unique_ptr<Watchdog> watchdog = make_watchdog(job, seat);
  std::unique_ptr<ParameterClient> client;
  if (!resident) {
    ClientParts needs{strategy, plan, watchdog.get(), folder.conflict, {}};
    if (seat.context == nullptr) needs.can_lead = [&](bool was_there) { return supervisor->can_lead(was_there); };
    client = make_client(job, seat, needs);
  }
  ParameterSession& session = resident ? static_cast<ParameterSession&>(*resident) : *client;
  supervisor.emplace(supervision_of(job, seat), job.graph, session, folder.own ? &*folder.own : nullptr);
  Console console(seat.task.index, progress_style(flags, seat.is_chief()), flags.training.train_steps);
  TrainingParts parts{job.data,        *executor, job.graph.output().size(),     client.get(),
                      *supervisor,     console,   metrics ? &*metrics : nullptr, watchdog.get(),
                      seat.stop_signal};
  if (resident) parts.client = resident.get();
  return run_training(training_of(job, seat, strategy), parts);
}

}  // namespace distmnist
