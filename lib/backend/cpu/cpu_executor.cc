#include "lib/backend/cpu/cpu_executor.h"

#include <algorithm>
#include <cassert>
#include <ranges>
#include <utility>

#include "lib/backend/cpu/parameters.h"
#include "lib/backend/cpu/plan.h"
#include "lib/backend/cpu/threads.h"
#include "lib/backend/softmax_loss.h"
#include "lib/base/error.h"

namespace distmnist::cpu {
namespace {

// Makes what oneDNN throws an Error that says what was tried.
std::unique_ptr<Plan> compile(const PlanParts& parts, std::int64_t batch) {
  try {
    return make_plan(parts, batch);
  } catch (const dnnl::error& error) {
    if (error.status == dnnl_out_of_memory) {
      fail(ExitCode::kResources, "device /cpu:0: out of memory for a batch of {}; use a smaller batch", batch);
    }
    fail(ExitCode::kInternal, "device /cpu:0: oneDNN cannot compile the model for a batch of {}: {} (status {})", batch,
         error.what(), static_cast<int>(error.status));
  }
}

// Runs `work`, adding its time by that clock to `total` if there is one.
template <typename Work>
void timed(double (*clock_s)(), double* total, Work work) {
  if (total == nullptr) return work();
  const double start_s = clock_s();
  work();
  *total += clock_s() - start_s;
}

}  // namespace

CpuExecutor::CpuExecutor(const Graph& graph, const CompileOptions& options, const CpuOptions& cpu,
                         const AmxKernels* amx)
    : graph_(graph),
      options_(options),
      pool_(options.threads),
      builtin_{pool_, vector_kernels(cpu.instruction_set.value_or(best_instruction_set())), amx},
      uses_builtin_(cpu.builtin_kernels),
      parameters_(std::make_unique<Parameters>(graph, options.precision == Precision::kBf16)),
      resident_training_(*this, graph) {
  updates_.reserve(graph_.variables.size());
  full_plan_ = make_plan_for(options_.max_batch_size);
}

CpuExecutor::~CpuExecutor() = default;

void CpuExecutor::load(Range range, std::span<const float> values) {
  parameters_->load(range, values);
}

bool CpuExecutor::load_bf16(Range range, std::span<const std::uint16_t> values) {
  parameters_->load_bf16(range, values);
  return true;
}

void CpuExecutor::read(Range range, std::span<float> values) const {
  parameters_->read(range, values);
}

std::span<float> CpuExecutor::gradients() {
  return parameters_->gradients();
}

std::span<const std::uint16_t> CpuExecutor::round_gradients() {
  return parameters_->round_gradients();
}

StepResult CpuExecutor::train_step(const Batch& batch, const GradientReady& ready) {
  if (parameters_->rounds_gradients()) {
    const GradientReady rounded = [&](Range variable) {
      parameters_->finish_gradient(variable);
      if (ready) ready(variable);
    };
    return step(batch, {.training = true, .first_sample = batch.first_sample, .ready = &rounded});
  }
  return step(batch, {.training = true, .first_sample = batch.first_sample, .ready = &ready});
}

StepResult CpuExecutor::resident_step(const Batch& batch, std::int64_t t) {
  parameters_->begin_update(t);
  const StepResult result = step(batch, {.training = true, .first_sample = batch.first_sample, .updates = &updates_});
  parameters_->end_update();
  return result;
}

StepResult CpuExecutor::step(const Batch& batch, const Step& step) {
  const ThreadScope threads(options_.threads);
  Plan& plan = plan_for(batch.size);
  last_plan_ = &plan;
  forward(plan, step, batch.images);
  const StepResult result =
      softmax_cross_entropy<float>(all_floats(plan.logits.value), batch.labels, all_floats(plan.logits.gradient));
  backward(plan, step);
  return result;
}

void CpuExecutor::predict(std::int64_t count, std::span<const float> images, std::span<float> logits) {
  const ThreadScope threads(options_.threads);
  Plan& plan = plan_for(count);
  forward(plan, Step{}, images);
  std::ranges::copy(all_floats(plan.logits.value), logits.begin());
}

std::vector<std::string> CpuExecutor::kernels() {
  return full_plan_->names;
}

void CpuExecutor::start_layer_times(double (*clock_s)()) {
  layer_times_.assign(graph_.layers.size(), {});
  layer_clock_s_ = clock_s;
}

std::vector<LayerChoices> CpuExecutor::choices() {
  std::vector<LayerChoices> choices;
  if (last_plan_ == nullptr) return choices;
  for (const Plan::PlacedKernel& placed : last_plan_->kernels) placed.kernel->add_choices(choices);
  return choices;
}

std::unique_ptr<Plan> CpuExecutor::make_plan_for(std::int64_t batch) {
  const ThreadScope threads(options_.threads);
  return compile({graph_, options_, *parameters_, builtin_, uses_builtin_}, batch);
}

Plan& CpuExecutor::plan_for(std::int64_t batch) {
  assert(batch >= 1 && batch <= options_.max_batch_size);
  if (batch == options_.max_batch_size) return *full_plan_;
  if (!partial_plan_ || partial_plan_->batch != batch) {
    if (last_plan_ == partial_plan_.get()) last_plan_ = nullptr;
    partial_plan_.reset();  // its memory goes before the next one's comes
    partial_plan_ = make_plan_for(batch);
  }
  return *partial_plan_;
}

void CpuExecutor::forward(Plan& plan, const Step& step, std::span<const float> images) {
  assert(static_cast<std::int64_t>(images.size()) == plan.batch * graph_.input.size());
  plan.input.set_data_handle(const_cast<float*>(images.data()));  // oneDNN only reads it
  for (Plan::PlacedKernel& placed : plan.kernels) {
    timed(layer_clock_s_, layer_times_.empty() ? nullptr : &layer_times_[placed.layer].forward_s,
          [&] { placed.kernel->forward(step); });
  }
}

void CpuExecutor::backward(Plan& plan, const Step& step) {
  for (Plan::PlacedKernel& placed : std::views::reverse(plan.kernels)) {
    if (placed.layer < plan.first_trained_layer) break;
    timed(layer_clock_s_, layer_times_.empty() ? nullptr : &layer_times_[placed.layer].backward_s, [&] {
      placed.kernel->backward(step);
      if (step.resident()) update();
    });
  }
}

// Of the variables that have been reported.
void CpuExecutor::update() {
  constexpr std::int64_t kSharedFloats = 1 << 15;
  for (const Range variable : updates_) {
    const auto update_part = [&](std::int64_t begin, std::int64_t size) {
      const Range range{variable.offset + begin, size};
      parameters_->update(range, parameters_->gradients(range).data());
    };
    if (variable.size < kSharedFloats) {
      update_part(0, variable.size);
      continue;
    }
    pool_.run([&](int part) {
      const Share share = share_of(variable.size, part, pool_.size(), 16);
      update_part(share.begin, share.size());
    });
  }
  updates_.clear();
}

}  // namespace distmnist::cpu
