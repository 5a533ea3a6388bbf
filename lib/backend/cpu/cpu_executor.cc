#include "lib/backend/cpu/cpu_executor.h"

#include <algorithm>
#include <cassert>
#include <ranges>
#include <utility>

#include "lib/backend/cpu/parameters.h"
#include "lib/backend/cpu/plan.h"
#include "lib/backend/cpu/threads.h"
#include "lib/backend/softmax_loss.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"

namespace distmnist::cpu {
namespace {

std::span<float> floats_of(const dnnl::memory& plain) {
  return {static_cast<float*>(plain.get_data_handle()), plain.get_desc().get_size() / sizeof(float)};
}

// Makes what oneDNN throws an Error that says what was tried.
std::unique_ptr<Plan> compile(const Graph& graph, const CompileOptions& options, std::int64_t batch,
                              Parameters& parameters) {
  try {
    return make_plan(graph, options, batch, parameters);
  } catch (const dnnl::error& error) {
    if (error.status == dnnl_out_of_memory) {
      fail(ExitCode::kResources, "device /cpu:0: out of memory for a batch of {}; use a smaller batch", batch);
    }
    fail(ExitCode::kInternal, "device /cpu:0: oneDNN cannot compile the model for a batch of {}: {} (status {})", batch,
         error.what(), static_cast<int>(error.status));
  }
}

// Runs `work`, adding its time to `total` if there is one.
template <typename Work>
void timed(double* total, Work work) {
  if (total == nullptr) return work();
  const double start_s = monotonic_s();
  work();
  *total += monotonic_s() - start_s;
}

}  // namespace

CpuExecutor::CpuExecutor(const Graph& graph, const CompileOptions& options)
    : graph_(graph), options_(options), parameters_(std::make_unique<Parameters>(graph)) {
  const ThreadScope threads(options_.threads);
  full_plan_ = compile(graph_, options_, options_.max_batch_size, *parameters_);
}

CpuExecutor::~CpuExecutor() = default;

void CpuExecutor::load(Range range, std::span<const float> values) {
  parameters_->load(range, values);
}

void CpuExecutor::read(Range range, std::span<float> values) const {
  std::ranges::copy(parameters_->values(range), values.begin());
}

std::span<float> CpuExecutor::gradients() {
  return parameters_->gradients();
}

StepResult CpuExecutor::train_step(const Batch& batch, const GradientReady& ready) {
  const ThreadScope threads(options_.threads);
  Plan& plan = plan_for(batch.size);
  const Step step{.training = true, .first_sample = batch.first_sample, .ready = &ready};
  forward(plan, step, batch.images);
  const StepResult result =
      softmax_cross_entropy<float>(floats_of(plan.logits.value), batch.labels, floats_of(plan.logits.gradient));
  backward(plan, step);
  return result;
}

void CpuExecutor::predict(std::int64_t count, std::span<const float> images, std::span<float> logits) {
  const ThreadScope threads(options_.threads);
  Plan& plan = plan_for(count);
  forward(plan, Step{}, images);
  std::ranges::copy(floats_of(plan.logits.value), logits.begin());
}

Plan& CpuExecutor::plan_for(std::int64_t batch) {
  assert(batch >= 1 && batch <= options_.max_batch_size);
  if (batch == options_.max_batch_size) return *full_plan_;
  if (!partial_plan_ || partial_plan_->batch != batch) {
    partial_plan_.reset();  // its memory goes before the next one's comes
    partial_plan_ = compile(graph_, options_, batch, *parameters_);
  }
  return *partial_plan_;
}

void CpuExecutor::forward(Plan& plan, const Step& step, std::span<const float> images) {
  assert(static_cast<std::int64_t>(images.size()) == plan.batch * graph_.input.size());
  plan.input.set_data_handle(const_cast<float*>(images.data()));  // oneDNN only reads it
  for (Plan::PlacedKernel& placed : plan.kernels) {
    timed(layer_times_.empty() ? nullptr : &layer_times_[placed.layer].forward_s,
          [&] { placed.kernel->forward(step); });
  }
}

void CpuExecutor::backward(Plan& plan, const Step& step) {
  for (Plan::PlacedKernel& placed : std::views::reverse(plan.kernels)) {
    if (placed.layer < plan.first_trained_layer) break;
    timed(layer_times_.empty() ? nullptr : &layer_times_[placed.layer].backward_s,
          [&] { placed.kernel->backward(step); });
  }
}

}  // namespace distmnist::cpu
