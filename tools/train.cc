// Train: a worker of a cluster, or local training.
#include <utility>

#include "lib/base/log.h"
#include "models/models.h"
#include "tools/cluster_setup.h"
#include "tools/commands.h"
#include "tools/data_source.h"
#include "tools/device.h"
#include "tools/environment.h"
#include "tools/flag_table.h"
#include "tools/flags.h"
#include "tools/key_folder.h"
#include "tools/local_server.h"
#include "tools/num_threads.h"
#include "tools/process_limits.h"
#include "tools/replication_flags.h"
#include "tools/signals.h"
#include "tools/tower_flags.h"
#include "tools/worker.h"

namespace distmnist {
namespace {

void require_fitting_data(const Graph& graph, const TrainAndTest& data, const Flags& flags) {
  if (data.train.image_size() != graph.input.size()) {
    fail(ExitCode::kData, "--model={} takes {} pixels per image, but {} has {}", flags.training.model,
         graph.input.size(), data.description, data.train.image_size());
  }
  const BatchSizeSchedule sizes = step_batch_sizes(flags);
  if (sizes.largest() > data.train.count) {
    fail(ExitCode::kUsage,
         "--batch_size{}={}: a step of {} samples is larger than the training set of {} images; choose a smaller batch",
         flags.training.batch_size_schedule ? "_schedule" : "", flags.training.batch_sizes().to_string(),
         sizes.largest(), data.train.count);
  }
}

// The seat of this process: a task of the cluster, or a local run.
WorkerSeat seat_of(const std::optional<Place>& place, std::vector<ClientKeys> keys = {}) {
  WorkerSeat seat;
  seat.stop_signal = signal_received;
  if (!place) return seat;
  seat.task = place->task;
  seat.num_workers = static_cast<std::uint32_t>(place->cluster.workers.size());
  const std::vector<HostPort>& workers = place->cluster.workers;
  seat.num_sharing_cores = tasks_on_same_host(workers, static_cast<std::size_t>(place->task.index));
  const std::vector<HostPort> up_to_own(workers.begin(), workers.begin() + place->task.index + 1);
  seat.place_among_them = tasks_on_same_host(up_to_own, static_cast<std::size_t>(place->task.index)) - 1;
  seat.ps = place->cluster.ps;
  seat.keys = std::move(keys);
  return seat;
}

std::vector<ClientKeys> keys_of(const Flags& flags, const std::optional<Place>& place) {
  if (!flags.cluster.keys || !place) return {};
  const KeyOwner self{KeyOwner::Role::kWorker, static_cast<std::uint32_t>(place->task.index)};
  return client_keys(*flags.cluster.keys, self, place->cluster.ps.size());
}

// Whether a run without a cluster needs ps tasks, which then run as threads.
bool needs_ps(const Flags& flags, int num_workers) {
  return num_workers > 1 || flags.replication.num_ps > 1 || flags.replication.replicas_to_aggregate > 1;
}

// Checked before anything starts: libraries end the process if they cannot start a thread or open a socket later.
void require_room(const Flags& flags, const std::optional<Place>& place, int num_workers) {
  constexpr int kBesides = 4;   // threads that load data and check for damage
  constexpr int kOfWorker = 6;  // threads: heartbeat, watchdog, checkpoints, metrics, batches, a search for a ps
  constexpr int kOfZeroMq = 3;  // threads
  if (place) {
    require_threads(num_threads(flags, seat_of(place).num_sharing_cores) + kOfWorker + kBesides + kOfZeroMq);
    require_sockets(4 * static_cast<int>(place->cluster.ps.size()));
  } else if (needs_ps(flags, num_workers)) {
    const int tasks = num_workers + flags.replication.num_ps;
    const int threads =
        num_workers * num_threads(flags, num_workers) + flags.replication.num_ps * num_threads(flags, tasks);
    require_threads(threads + kOfWorker * num_workers + kBesides + kOfZeroMq);
    require_sockets((num_workers + 1) * flags.replication.num_ps);
  } else {
    require_threads(num_threads(flags, 1) + kBesides);
  }
}

// The workers of a run without a cluster.
std::vector<Flags> local_workers(const Flags& flags) {
  if (!has_independent_towers(flags))
    return std::vector<Flags>(static_cast<std::size_t>(flags.replication.num_workers), flags);
  std::vector<Flags> towers;
  for (std::size_t i = 0; i < devices_of(flags).size(); ++i) towers.push_back(flags_of_independent_tower(flags, i));
  return towers;
}

}  // namespace

ExitCode train(const Flags& flags, const std::optional<Place>& place, double started_s) {
  const std::vector<ClientKeys> keys = keys_of(flags, place);
  const Graph graph = make_model(flags.training.model);
  const std::vector<Flags> workers = local_workers(flags);
  require_room(flags, place, static_cast<int>(workers.size()));
  const LoadedData loaded = load_data(flags);
  require_fitting_data(graph, loaded.data, flags);
  log_info("preset {}: {}", flags.training.preset, describe_preset_values(flags));
  Devices devices(find_gpu_search());
  const Job job{.flags = flags,
                .graph = graph,
                .data = loaded.data,
                .data_identity = identity_of(loaded.data),
                .data_source = loaded.source,
                .devices = devices,
                .config = to_toml(with_source(flags, loaded.source)),
                .started_s = started_s};
  if (place) return run_worker(job, seat_of(place, keys));
  return needs_ps(flags, static_cast<int>(workers.size())) ? run_local_server(job, flags.replication.num_ps, workers)
                                                           : run_worker(job, seat_of(place));
}

}  // namespace distmnist
