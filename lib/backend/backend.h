// Backend and Executor: one coarse call per batch, so that fusion, packed layouts and threads stay inside a backend.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/parameter_sink.h"
#include "lib/base/range.h"
#include "lib/graph/graph.h"
#include "lib/math/instruction_set.h"
#include "lib/optim/optimizer.h"

namespace distmnist {

// What products are computed in. Sums, parameters, gradients of variables and optimizer slots are float32 in all of
// them.
enum class Precision {
  kF32,   // float32, or what is off by less than 1e-5 of it
  kTf32,  // factors rounded to 10 bits of mantissa, where the device has such products (GPUs)
  kBf16,  // factors and activations in bfloat16
  kAuto,  // the fastest that the device has: bf16 on GPUs and CPUs with products of bfloat16 (AMX), else f32
};
// "f32", "tf32", "bf16", "auto"; Error (kUsage) names the known ones.
Precision parse_precision(std::string_view name);
std::string_view to_string(Precision precision);

struct CompileOptions {
  std::int64_t max_batch_size = 50;  // the largest batch of train_step and predict, in samples
  Precision precision = Precision::kF32;
  int threads = 1;           // of this executor's kernels
  std::uint64_t seed = 0;    // of dropout masks
  std::uint64_t stream = 0;  // the worker: each has its own masks
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

// Labelled samples as bytes. Whoever keeps them may refer to them, so the spans stay valid as long as they are trained
// on.
struct SampleBytes {
  std::int64_t count = 0;
  std::span<const std::uint8_t> pixels;  // [count, input.size()], in the graph's input order; 255 is 1.0
  std::span<const std::uint8_t> labels;  // [count], each below the number of classes
};

// Training steps that follow one another without a word from the host.
struct ResidentSteps {
  std::int64_t batch_size = 0;            // samples per step, 1 .. max_batch_size
  std::span<const std::int32_t> samples;  // [steps, batch_size]: which of the kept samples
  std::uint64_t first_sample = 0;         // of the first step, as in Batch; each step's is batch_size further
};

// Training that stays on the device: samples, parameters, gradients and the optimizer's slots live there, and the
// update is part of the step. Part of an Executor, whose parameters it trains; the same thread calls both. Calls in
// this order: keep_samples, start, then run and the rest as often as wanted; start again after parameters or slots have
// changed.
class ResidentTraining {
 public:
  virtual ~ResidentTraining() = default;
  // Takes the samples to the device, which may be where they are. False, with nothing kept, where they do not fit: then
  // train_step() serves. Error (kData) for a label that is not below the number of classes.
  virtual bool keep_samples(const SampleBytes& samples) = 0;
  // The optimizer and its state when `global_step` updates have been made; slots as in apply_update().
  virtual void start(const OptimizerSpec& optimizer, std::int64_t global_step,
                     std::span<const std::span<const float>> slots) = 0;
  // Starts these steps, at least one, and may return before they are done; the samples are copied. Waits when too many
  // are under way.
  virtual void run(const ResidentSteps& steps) = 0;
  // Waits until all steps are done: the loss and accuracy of the last one, before its update. After a run() only.
  virtual StepResult last_step() = 0;
  // Waits, then copies a slot out, canonical layout, [num_parameters]. (Executor::read() waits, too.)
  virtual void read_slot(std::size_t slot, std::span<float> values) const = 0;
};

// Which way gradients went through a layer that lets only some of them pass, as bytes [batch, output size] in CHW
// order. Of a relu, a layer's activation or a Relu: 1 where the output is above 0. Of a MaxPool2d: row * window width +
// column of the pixel of the window that was chosen, or kNoneChosen where no pixel gets a gradient.
struct LayerChoices {
  static constexpr std::uint8_t kNoneChosen = 255;
  std::size_t layer = 0;  // in Graph::layers
  std::vector<std::uint8_t> bytes;
};

// The time spent in one layer of the graph, summed over all steps since it was asked for.
struct LayerTime {
  double forward_s = 0;
  double backward_s = 0;  // with the time that the GradientReady callback takes
};

// What only tests and benchmarks ask of an executor.
class ExecutorProbe {
 public:
  virtual ~ExecutorProbe() = default;
  // The choices of the last train_step, for comparing gradients: a number that is rounded differently may choose
  // differently, and then the gradient is another one, not a less exact one. Nothing where the executor does not tell.
  virtual std::vector<LayerChoices> choices() { return {}; }
  // Pieces of work that a step of resident training hands to the device, once a step has been made; 0: not known.
  virtual std::int64_t launches_per_step() const { return 0; }
  // From now on adds up times per layer, by a clock in seconds.
  virtual void start_layer_times(double (* /*clock_s*/)()) {}
  virtual std::span<const LayerTime> layer_times() const { return {}; }
};

// A graph compiled for one device. Owns its copy of the parameters. One thread at a time may call it.
class Executor : public ParameterSink {
 public:
  // load(), as a ParameterSink, copies parameters in: any range, pieces of a variable, too. After load_bf16(), read()
  // may return what products use, which is rounded as the precision asks for.

  // Copies parameters out in canonical layout.
  virtual void read(Range range, std::span<float> values) const = 0;

  // Forward and backward pass: fills gradients() with the gradient of the batch's mean loss. Parameters do not change.
  virtual StepResult train_step(const Batch& batch, const GradientReady& ready) = 0;
  // [num_parameters], canonical layout; owned by the executor, at the same address for its whole life.
  virtual std::span<float> gradients() = 0;

  // From now on train_step() writes gradients as bfloat16, rounded to nearest, to the span that this returns, which is
  // like that of gradients(); gradients() is then undefined. Nothing changes and the span is empty if this executor
  // computes them in float32 anyway.
  virtual std::span<const std::uint16_t> round_gradients() { return {}; }

  // Forward pass without dropout; logits [count, classes]. count is 1 .. max_batch_size.
  virtual void predict(std::int64_t count, std::span<const float> images, std::span<float> logits) = 0;

  // kernels()[i]: what computes layer i of the graph in batches of max_batch_size, in a few words: "oneDNN pooling".
  virtual std::vector<std::string> kernels() = 0;

  // Null where this executor has none. Owned by the executor.
  virtual ResidentTraining* resident_training() { return nullptr; }

  // For tests and benchmarks. Null where this executor has nothing to tell. Owned by the executor.
  virtual ExecutorProbe* probe() { return nullptr; }
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;  // "reference", "cpu (avx2)", "cuda"
  // Whether a layer can be computed here: its sizes, in this precision. compile() refuses others with Error (kUsage).
  virtual bool can_compute(const Layer& layer, Precision precision) const = 0;
  // What kAuto is on these devices.
  virtual Precision fastest_precision() const { return Precision::kF32; }
  // The graph must outlive the call only. Error (kUsage) for options out of range, kResources where memory is short.
  virtual std::unique_ptr<Executor> compile(const Graph& graph, const CompileOptions& options) const = 0;
};

// What a GPU backend is made of.
struct GpuOptions {
  std::vector<int> devices = {
      0};  // logical numbers; several: towers on one batch, their gradients summed on the devices
  // Of each card's memory, the largest share that this process takes, in (0, 1]. It is taken at once, or, with
  // allow_growth, as it is needed. Nothing: as needed, without a limit of our own.
  std::optional<double> memory_fraction;
  bool allow_growth = false;
};

// What the cpu backend computes with.
struct CpuOptions {
  std::optional<InstructionSet> instruction_set;  // of the built-in kernels; nothing: the best that the processor has
  bool builtin_kernels = true;                    // false: oneDNN alone, the baseline of benchmarks
};

// The backend for a device type: "cpu" (built-in kernels and oneDNN; the reference backend where the build has none),
// "reference", or "gpu" (the CUDA module, loaded at run time). `module_folder` is where the module is looked for first;
// empty: only the dynamic linker's own places. Error (kUsage) says what is missing, an instruction set of the processor
// too. Executors of one backend share its devices' memory, and the backend must outlive them.
std::unique_ptr<Backend> make_backend(std::string_view device_type, const std::string& module_folder = {},
                                      const GpuOptions& gpu = {}, const CpuOptions& cpu = {});

}  // namespace distmnist
