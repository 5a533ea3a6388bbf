// Backend and Executor: one coarse call per batch, so that fusion, packed layouts and threads stay inside a backend.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "lib/base/range.h"
#include "lib/graph/graph.h"

namespace distmnist {

struct CompileOptions {
  std::int64_t max_batch_size = 50;  // the largest batch of train_step and predict, in samples
  int threads = 1;                   // of this executor's kernels
  std::uint64_t seed = 0;            // of dropout masks
  std::uint64_t stream = 0;          // the worker: each has its own masks
};

// One batch of samples; the spans must stay valid during the call only.
struct Batch {
  std::int64_t size = 0;                 // samples, 1 .. max_batch_size
  std::span<const float> images;         // [size, input.size()], in the graph's input order (CHW)
  std::span<const std::uint8_t> labels;  // [size], each below the number of classes
  std::uint64_t first_sample = 0;        // the batch's position in the worker's data: names the dropout masks
};

struct StepResult {
  double loss = 0;           // mean over the batch
  std::int64_t correct = 0;  // samples whose largest logit is the label's (the first one on a tie)
};

// Called as soon as the gradient of a whole variable is final, from the thread that called train_step; variables of
// later layers come first. The numbers are then in gradients() at that range until the next train_step.
using GradientReady = std::function<void(Range)>;

// A graph compiled for one device. Owns its copy of the parameters. One thread at a time may call it.
class Executor {
 public:
  virtual ~Executor() = default;

  // Copies parameters in (values.size() == range.size, canonical layout); any range, pieces of a variable too.
  virtual void load(Range range, std::span<const float> values) = 0;
  // Copies parameters out in canonical layout.
  virtual void read(Range range, std::span<float> values) const = 0;

  // Forward and backward pass: fills gradients() with the gradient of the batch's mean loss. Parameters do not change.
  virtual StepResult train_step(const Batch& batch, const GradientReady& ready) = 0;
  // [num_parameters], canonical layout; owned by the executor, at the same address for its whole life.
  virtual std::span<float> gradients() = 0;

  // Forward pass without dropout; logits [count, classes]. count is 1 .. max_batch_size.
  virtual void predict(std::int64_t count, std::span<const float> images, std::span<float> logits) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;  // "reference", "cpu"
  // The graph must outlive the call only. Error (kUsage) for options out of range.
  virtual std::unique_ptr<Executor> compile(const Graph& graph, const CompileOptions& options) const = 0;
};

// The backend for a device type: "cpu" (oneDNN; the reference backend where the build has none), "reference", or "gpu"
// (the CUDA module, loaded at run time). `module_folder` is where the module is looked for first; empty: only the
// dynamic linker's own places. Error (kUsage) says what is missing.
std::unique_ptr<Backend> make_backend(std::string_view device_type, const std::string& module_folder = {});

}  // namespace distmnist
