// One worker of a run, wherever its ps tasks are: puts the parts together and runs the training loop.
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
  int num_sharing_cores = 1;  // workers on this host, this one counted
  int place_among_them = 0;   // this one's, from 0
  // The ps tasks; none: the parameters are in this process.
  std::vector<HostPort> ps;
  // Of ps tasks that are threads of this process, see RemoteClientConfig.
  std::vector<std::string> endpoints;
  WireContext* context = nullptr;
  std::vector<ClientKeys> keys;                          // for each of `ps`, where the cluster has keys
  std::function<std::optional<ExitCode>()> stop_signal;  // the code to end with, once the run is to stop

  bool is_chief() const { return task.index == 0; }
};

// What all workers of a process have in common; outlives them.
struct Job {
  const Flags& flags;
  const Graph& graph;
  const TrainAndTest& data;
  DataIdentity data_identity;
  std::string data_source;  // as of LoadedData
  Devices& devices;
  std::string config;    // config.toml of the run
  double started_s = 0;  // when the process started, for the log
};

// Errors as of run_training and the parts.
ExitCode run_worker(const Job& job, const WorkerSeat& seat);

}  // namespace distmnist
