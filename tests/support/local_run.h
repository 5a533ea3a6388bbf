// Drives local training in this process with the shipped training loop: a small model set up like in the program, and
// its output. Nothing is sent; remote_job.h drives training over TCP.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "data/synthetic.h"
#include "lib/ps/client/in_process_client.h"
#include "lib/worker/resident_client.h"
#include "lib/worker/training.h"
#include "models/models.h"

namespace distmnist {

inline TrainAndTest small_digits() {
  return {make_synthetic_digits(400, 1, Split::kTrain, 2), make_synthetic_digits(100, 1, Split::kTest, 2), "drawn",
          true};
}

inline std::vector<NamedRange> variables_of(const Graph& graph) {
  std::vector<NamedRange> out;
  for (const Variable& variable : graph.variables) out.push_back({variable.name, variable.range});
  return out;
}

// Where local training keeps the parameters.
enum class ParametersIn { kProcess, kDevice };

// Local training of the softmax model with the reference backend, set up like in the program.
struct Run {
  explicit Run(const RunFolder* folder = nullptr, double learning_rate = 0.01,
               OptimizerKind optimizer = OptimizerKind::kAdam, ParametersIn where = ParametersIn::kProcess) {
    CompileOptions options;
    config.batch_sizes = BatchSizeSchedule(20);
    options.max_batch_size = 40;
    executor = make_backend("reference")->compile(graph, options);
    OptimizerSpec spec = default_optimizer(optimizer);
    spec.learning_rate = static_cast<float>(learning_rate);
    if (where == ParametersIn::kProcess) {
      client = std::make_unique<InProcessClient>(variables_of(graph), spec);
    } else {
      executor->resident_training()->keep_samples({data.train.count, data.train.pixels, data.train.labels});
      client = std::make_unique<ResidentClient>(*executor, graph.num_parameters, spec);
    }
    SupervisorConfig supervision;
    if (folder != nullptr) supervision.log_dir = folder->path();
    supervision.identity = {"softmax", describe(graph), graph.variables, spec};
    supervisor = std::make_unique<Supervisor>(supervision, graph, *client, folder);
    config.log_every = 1'000'000;
  }

  // `signal`: as if it had arrived before the first step.
  ExitCode train(std::int64_t steps, std::optional<ExitCode> signal = std::nullopt) {
    config.train_steps = steps;
    Console console(0, ProgressStyle::kNone, steps);
    TrainingParts parts{data, *executor, 10, {}, *supervisor, console, metrics, nullptr, [signal] { return signal; }};
    if (auto* resident = dynamic_cast<ResidentClient*>(client.get())) {
      parts.client = resident;
    } else {
      parts.client = &exchange();
    }
    return run_training(config, parts);
  }

  // The client, if the parameters are in this process.
  ParameterClient& exchange() { return dynamic_cast<ParameterClient&>(*client); }

  std::vector<float> parameters() { return client->snapshot().value().parameters; }

  Graph graph = softmax();
  TrainAndTest data = small_digits();
  std::unique_ptr<Executor> executor;
  std::unique_ptr<ParameterSession> client;  // destroyed before the executor
  std::unique_ptr<Supervisor> supervisor;
  TrainingConfig config;
  BackgroundMetrics* metrics = nullptr;
};

// The values of one column of metrics.csv, as text.
inline std::vector<std::string> column(const std::filesystem::path& file, const std::string& name) {
  std::ifstream in(file);
  std::vector<std::string> out;
  std::ptrdiff_t index = -1;
  for (std::string line; std::getline(in, line);) {
    std::vector<std::string> cells;
    std::istringstream cells_in(line);
    for (std::string cell; std::getline(cells_in, cell, ',');) cells.push_back(cell);
    if (index < 0) index = std::ranges::find(cells, name) - cells.begin();
    out.push_back(cells.at(static_cast<std::size_t>(index)));
  }
  if (!out.empty()) out.erase(out.begin());  // the header
  return out;
}

}  // namespace distmnist
