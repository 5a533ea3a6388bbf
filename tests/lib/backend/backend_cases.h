// The graphs on which all backends must agree, and helpers that run them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/graph/graph.h"

namespace distmnist {

struct BackendCase {
  std::string name;
  Graph graph;
  std::int64_t batch = 3;
};

// Every layer alone and combined, with odd sizes, strides and paddings, and batches of 1 to 50.
std::vector<BackendCase> backend_cases();

// The names of the backends under test: the reference backend, the cpu backend with the instruction set that this
// processor chooses, and the cpu backend as a processor with AMX computes. If tests are told an instruction set, only
// the cpu backend.
const std::vector<std::string>& backends_under_test();
// Creates the backend with this name ("reference", "cpu", "tiles") in the instruction set that tests are told to use,
// if any. Other names are passed to make_backend().
std::unique_ptr<Backend> make_named_backend(const std::string& name);

// Samples of a case: images uniform in [-1, 1), labels below the graph's classes.
struct Samples {
  std::vector<float> images;
  std::vector<std::uint8_t> labels;

  Batch batch(std::uint64_t first_sample = 0) const {
    return {.size = std::ssize(labels), .images = images, .labels = labels, .first_sample = first_sample};
  }
};
Samples make_samples(const Graph& graph, std::int64_t count, std::uint64_t seed);

// Weights from initialize() and biases in [-0.1, 0.1), so that an omitted bias is noticed.
std::vector<float> make_parameters(const Graph& graph, std::uint64_t seed);

// An executor with its parameters loaded.
std::unique_ptr<Executor> make_executor(const std::string& backend, const Graph& graph, const CompileOptions& options,
                                        const std::vector<float>& parameters);

std::vector<float> read_all(const Executor& executor, const Graph& graph);
std::vector<float> predict(Executor& executor, const Graph& graph, const Samples& samples);

struct TrainOutcome {
  StepResult result;
  std::vector<float> gradients;
};
TrainOutcome train(Executor& executor, const Batch& batch);

// |a - b| / |b| in the L2 norm; the absolute difference where b is zero.
double relative_error(std::span<const float> a, std::span<const float> b);

}  // namespace distmnist
