// Worker: builds one worker of a run, wherever its ps tasks are, and runs the training loop.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/data_identity.h"
#include "data/image_set.h"
#include "lib/base/error.h"
#include "lib/cluster/cluster_spec.h"
#include "lib/graph/graph.h"
#include "lib/wire/transport.h"
#include "tools/device.h"
#include "tools/flags.h"

namespace distmnist {

struct WorkerSeat {
  TaskId task{"worker", 0};
  std::uint32_t num_workers = 1;
  int num_sharing_cores = 1;  // workers on this host, including this one
  int place_among_them = 0;   // index of this one, from 0
  // The ps tasks; empty if the parameters are in this process.
  std::vector<HostPort> ps;
  // For ps tasks that are threads of this process; see RemoteClientConfig.
  std::vector<std::string> endpoints;
  WireContext* context = nullptr;
  std::vector<ClientKeys> keys;                          // one for each of `ps`, if the cluster has keys
  std::function<std::optional<ExitCode>()> stop_signal;  // the exit code, once the run should stop

  bool is_chief() const { return task.index == 0; }
};

// What all workers of a process share; outlives them.
struct Job {
  const Flags& flags;
  const Graph& graph;
  const TrainAndTest& data;
  DataIdentity data_identity;
  std::string data_source;  // as in LoadedData
  Devices& devices;
  std::string config;    // the run's config.toml
  double started_s = 0;  // when the process started, for the log
};

// Errors of run_training and of the parts.
ExitCode run_worker(const Job& job, const WorkerSeat& seat);

}  // namespace distmnist
