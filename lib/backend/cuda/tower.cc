#include "lib/backend/cuda/tower.h"

#include <algorithm>
#include <cassert>

#include "lib/backend/cuda/matmul.h"

namespace distmnist::cuda {
namespace {

bool overlap(Range a, Range b) {
  return a.offset < b.end() && b.offset < a.end();
}

}  // namespace

Tower::Tower(Gpu& gpu, const Graph& graph, const CompileOptions& options)
    : gpu_(gpu),
      graph_(graph),
      options_(options),
      arithmetic_(arithmetic_of(options.precision)),
      make_current_(gpu),
      copies_(make_stream()),
      loaded_(make_event()),
      blas_(make_blas_handle()),
      dnn_(make_dnn_handle()),
      main_workspace_(*gpu.memory, kMatmulWorkspaceBytes, "the workspace of matrix products"),
      side_workspace_(*gpu.memory, kMatmulWorkspaceBytes, "the workspace of matrix products"),
      parameters_(*gpu.memory, graph, arithmetic_),
      current_(*gpu.memory, 1, "a step's scalars"),
      images_(*gpu.memory, options.max_batch_size * graph.input.size(), "a batch of samples") {
  plan_for(options_.max_batch_size);
}

Tower::~Tower() {
  wait_quietly();  // Memory must not go back while it is in use.
}

Plan& Tower::plan_for(std::int64_t batch) {
  assert(batch >= 1 && batch <= options_.max_batch_size);
  const bool full = batch == options_.max_batch_size;
  std::unique_ptr<Plan>& plan = full ? full_plan_ : partial_plan_;
  if (plan && plan->batch() == batch) return *plan;
  wait();  // What the old plan owns may be in use.
  plan.reset();
  const LayerContext context{.options = options_,
                             .memory = *gpu_.memory,
                             .parameters = parameters_,
                             .arithmetic = arithmetic_,
                             .blas = blas_.get(),
                             .dnn = dnn_.get(),
                             .main_workspace = main_workspace_.data(),
                             .side_workspace = side_workspace_.data()};
  plan = std::make_unique<Plan>(++num_plans_, graph_, batch, context);
  stale_copies_ = true;  // The plan may want filters packed that no other one did.
  return *plan;
}

void Tower::wait() {
  make_current();
  synchronize(copies_.get());
  synchronize(streams_.main());
  loading_.clear();
}

void Tower::wait_quietly() const noexcept {
  cudaSetDevice(gpu_.info.index);
  for (const cudaStream_t stream : {copies_.get(), streams_.side(), streams_.main()}) cudaStreamSynchronize(stream);
}

void Tower::load(Range range, std::span<const float> values) {
  make_current();
  if (host_parameters_.size() == 0) {
    wait();  // Steps under way read the parameters.
    host_parameters_ = PinnedArray<float>(parameters_.size());
  }
  if (std::ranges::any_of(loading_, [range](Range other) { return overlap(range, other); })) wait();
  const std::span<float> staged = slice(host_parameters_.span(), range);
  std::ranges::copy(values, staged.begin());
  // Whatever still computes with the old parameters comes first.
  wait_for(copies_.get(), streams_.main(), loaded_);
  upload(copies_.get(), parameters_.values(range), staged.data(), range.size);
  loading_.push_back(range);
  stale_copies_ = true;
}

void Tower::read(Range range, std::span<float> values) {
  wait();
  download(streams_.main(), values.data(), parameters_.values(range), range.size);
  synchronize(streams_.main());
}

void Tower::settle_parameters() {
  if (!stale_copies_) return;
  wait_for(streams_.main(), copies_.get(), loaded_);
  parameters_.refresh(streams_.main());
  stale_copies_ = false;
}

void Tower::stage_images(Plan& plan, std::span<const float> images) {
  if (host_images_.size() == 0) host_images_ = PinnedArray<float>(images_.size());
  const auto count = std::ssize(images);
  std::ranges::copy(images, host_images_.data());
  upload(streams_.main(), images_.data(), host_images_.data(), count);
  stage_batch(streams_.main(), images_.data(), plan.input());
}

void Tower::stage(const Batch& batch) {
  make_current();
  Plan& plan = plan_for(batch.size);
  if (host_labels_.size() == 0) {
    host_labels_ = PinnedArray<std::uint8_t>(options_.max_batch_size);
    host_scalars_ = PinnedArray<StepScalars>(1);
  }
  stage_images(plan, batch.images);
  std::ranges::copy(batch.labels, host_labels_.data());
  upload(streams_.main(), plan.labels(), host_labels_.data(), batch.size);
  *host_scalars_.data() = {.first_sample = batch.first_sample};
  upload(streams_.main(), current_.data(), host_scalars_.data(), 1);
}

void Tower::compute(std::int64_t batch, std::int64_t divisor, const GradientEnqueued* enqueued) {
  make_current();
  Plan& plan = plan_for(batch);
  settle_parameters();
  const Step step{.streams = streams_, .training = true, .current = current_.data(), .enqueued = enqueued};
  plan.forward(step);
  plan.loss(streams_.main(), divisor, nullptr);
  plan.backward(step);
}

void Tower::clear_gradients() {
  make_current();
  check(cudaMemsetAsync(parameters_.gradients({0, parameters_.size()}), 0,
                        static_cast<std::size_t>(parameters_.size()) * sizeof(float), streams_.main()),
        "clear the gradients");
}

StepSums Tower::results(std::int64_t batch) {
  make_current();
  Plan& plan = plan_for(batch);
  if (host_losses_.size() == 0) {
    host_losses_ = PinnedArray<float>(options_.max_batch_size);
    host_correct_ = PinnedArray<std::uint8_t>(options_.max_batch_size);
  }
  download(streams_.main(), host_losses_.data(), plan.losses(), batch);
  download(streams_.main(), host_correct_.data(), plan.correct(), batch);
  synchronize(streams_.main());
  StepSums sums;
  for (std::int64_t n = 0; n < batch; ++n) {
    sums.loss += host_losses_.data()[n];
    sums.correct += host_correct_.data()[n];
  }
  return sums;
}

void Tower::predict(std::int64_t count, std::span<const float> images, std::span<float> logits) {
  make_current();
  Plan& plan = plan_for(count);
  settle_parameters();
  stage_images(plan, images);
  plan.forward({.streams = streams_});
  download(streams_.main(), logits.data(), plan.logits(), std::ssize(logits));
  synchronize(streams_.main());
}

}  // namespace distmnist::cuda
