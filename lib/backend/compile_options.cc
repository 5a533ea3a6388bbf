#include "lib/backend/compile_options.h"

#include <algorithm>

#include "lib/base/error.h"

namespace distmnist {

void check_options(const Graph& graph, const CompileOptions& options) {
  if (graph.layers.empty() || graph.variables.empty()) {
    fail(ExitCode::kUsage, "the model has no layer with variables; there is nothing to train");
  }
  if (options.max_batch_size < 1 || options.max_batch_size > kMaxBatchSize) {
    fail(ExitCode::kUsage, "a batch size of {} is out of range; give 1 to {}", options.max_batch_size, kMaxBatchSize);
  }
  if (options.threads < 1 || options.threads > kMaxThreads) {
    fail(ExitCode::kUsage, "{} threads are out of range; give 1 to {}", options.threads, kMaxThreads);
  }
}

void check_layers(const Backend& backend, const Graph& graph, Precision precision) {
  for (const Layer& layer : graph.layers) {
    if (backend.can_compute(layer, precision)) continue;
    fail(ExitCode::kUsage, "layer {} has no kernel in the {} backend with --precision={}", scope_of(layer),
         backend.name(), to_string(precision));
  }
}

}  // namespace distmnist
