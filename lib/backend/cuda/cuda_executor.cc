#include "lib/backend/cuda/cuda_executor.h"

#include <algorithm>
#include <cassert>
#include <ranges>

#include "lib/backend/softmax_loss.h"
#include "lib/base/error.h"

namespace distmnist::cuda {
namespace {

// Of a step: the sums over the towers, in their order.
StepResult collect(const Towers& towers, const std::vector<TowerPart>& parts, std::int64_t batch_size) {
  StepResult result;
  for (std::size_t i = 0; i < towers.size(); ++i) {
    if (parts[i].size == 0) continue;
    const StepSums sums = towers[i]->results(parts[i].size);
    result.loss += sums.loss;
    result.correct += sums.correct;
  }
  result.loss /= static_cast<double>(batch_size);
  return result;
}

Batch part_of(const Batch& batch, const TowerPart& part, std::int64_t sample_size) {
  const auto first = static_cast<std::size_t>(part.first), size = static_cast<std::size_t>(part.size);
  return {.size = part.size,
          .images = batch.images.subspan(first * static_cast<std::size_t>(sample_size),
                                         size * static_cast<std::size_t>(sample_size)),
          .labels = batch.labels.subspan(first, size),
          .first_sample = batch.first_sample + static_cast<std::uint64_t>(part.first)};
}

}  // namespace

std::vector<TowerPart> parts_of(std::int64_t batch_size, const Towers& towers) {
  std::vector<TowerPart> parts;
  for (std::size_t i = 0; i < towers.size(); ++i) parts.push_back(part_of_tower(batch_size, i, towers.size()));
  return parts;
}

CudaResidentTraining::CudaResidentTraining(const Towers& towers, Collective* collective)
    : towers_(towers), collective_(collective) {
  for (const auto& tower : towers) steps_.push_back(std::make_unique<TowerSteps>(*tower));
}

bool CudaResidentTraining::keep_samples(const SampleBytes& samples) {
  check_labels(samples.labels, towers_[0]->graph().output().channels);
  try {
    for (const auto& steps : steps_) steps->keep_samples(samples);
  } catch (const Error& error) {
    if (error.code() == ExitCode::kResources) return false;
    throw;
  }
  return true;
}

void CudaResidentTraining::start(const OptimizerSpec& optimizer, std::int64_t global_step,
                                 std::span<const std::span<const float>> slots) {
  for (const auto& steps : steps_) steps->start(optimizer, slots);
  optimizer_ = optimizer;
  updates_ = global_step;
  last_batch_size_ = 0;
}

void CudaResidentTraining::run(const ResidentSteps& steps) {
  const std::vector<TowerPart> parts = parts_of(steps.batch_size, towers_);
  const std::int64_t count = std::ssize(steps.samples) / steps.batch_size;
  assert(count >= 1 && count * steps.batch_size == std::ssize(steps.samples));
  for (std::int64_t done = 0; done < count; done += kMaxQueuedSteps) {
    const std::int64_t queued = std::min(kMaxQueuedSteps, count - done);
    queue({steps.batch_size,
           steps.samples.subspan(static_cast<std::size_t>(done * steps.batch_size),
                                 static_cast<std::size_t>(queued * steps.batch_size)),
           steps.first_sample + static_cast<std::uint64_t>(done * steps.batch_size)},
          parts);
    for (std::int64_t i = 0; i < queued; ++i) run_step(parts, steps.batch_size);
  }
  last_batch_size_ = steps.batch_size;
}

// Hands each tower its part of every step.
void CudaResidentTraining::queue(const ResidentSteps& steps, const std::vector<TowerPart>& parts) {
  const std::int64_t count = std::ssize(steps.samples) / steps.batch_size;
  for (std::size_t i = 0; i < towers_.size(); ++i) {
    std::vector<std::int32_t> samples;
    std::vector<StepScalars> scalars;
    samples.reserve(static_cast<std::size_t>(count * parts[i].size));
    for (std::int64_t step = 0; step < count; ++step) {
      const std::int64_t first = step * steps.batch_size + parts[i].first;
      const auto part = steps.samples.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(parts[i].size));
      samples.insert(samples.end(), part.begin(), part.end());
      scalars.push_back({.first_sample = steps.first_sample + static_cast<std::uint64_t>(first),
                         .rate = update_rate(optimizer_, updates_ + step + 1)});
    }
    steps_[i]->queue(samples, scalars);
  }
}

void CudaResidentTraining::run_step(const std::vector<TowerPart>& parts, std::int64_t batch_size) {
  ++updates_;
  if (towers_.size() == 1) return steps_[0]->run_step(batch_size, batch_size);
  for (std::size_t i = 0; i < steps_.size(); ++i) steps_[i]->run_gradients(parts[i].size, batch_size);
  collective_->sum_gradients();
  for (const auto& steps : steps_) steps->run_update();
}

StepResult CudaResidentTraining::last_step() {
  assert(last_batch_size_ > 0);
  return collect(towers_, parts_of(last_batch_size_, towers_), last_batch_size_);
}

void CudaResidentTraining::read_slot(std::size_t slot, std::span<float> values) const {
  steps_[0]->read_slot(slot, values);
}

CudaExecutor::CudaExecutor(const std::vector<Gpu*>& gpus, const Graph& graph, const CompileOptions& options)
    : graph_(graph) {
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    CompileOptions own = options;
    own.max_batch_size = std::max<std::int64_t>(1, part_of_tower(options.max_batch_size, i, gpus.size()).size);
    towers_.push_back(std::make_unique<Tower>(*gpus[i], graph, own));
  }
  if (towers_.size() > 1) collective_ = make_collective(towers_);
}

void CudaExecutor::load(Range range, std::span<const float> values) {
  for (const auto& tower : towers_) tower->load(range, values);
}

void CudaExecutor::read(Range range, std::span<float> values) const {
  towers_[0]->read(range, values);
}

GradientDownload& CudaExecutor::download() {
  if (!download_) {
    towers_[0]->make_current();
    download_.emplace(towers_[0]->parameters());
  }
  return *download_;
}

std::span<float> CudaExecutor::gradients() {
  return download().gradients();
}

StepResult CudaExecutor::train_step(const Batch& batch, const GradientReady& ready) {
  check_labels(batch.labels, graph_.output().channels);
  last_batch_size_ = batch.size;
  GradientDownload& to_host = download();
  const std::vector<TowerPart> parts = parts_of(batch.size, towers_);
  const bool alone = towers_.size() == 1;
  const GradientEnqueued enqueue = [&](Range variable, cudaStream_t stream) { to_host.enqueue(variable, stream); };
  for (std::size_t i = 0; i < towers_.size(); ++i) {
    if (parts[i].size == 0) {
      towers_[i]->clear_gradients();
      continue;
    }
    towers_[i]->stage(part_of(batch, parts[i], graph_.input.size()));
    towers_[i]->compute(parts[i].size, batch.size, alone ? &enqueue : nullptr);
  }
  if (!alone) {
    collective_->sum_gradients();
    towers_[0]->make_current();
    for (const Variable& variable : std::views::reverse(graph_.variables)) {
      to_host.enqueue(variable.range, towers_[0]->streams().main());
    }
  }
  to_host.finish(ready);
  const StepResult result = collect(towers_, parts, batch.size);
  // What this step's copies and sums still use must not be written by the next one.
  if (!alone) {
    for (const auto& tower : towers_) tower->wait();
  }
  return result;
}

void CudaExecutor::predict(std::int64_t count, std::span<const float> images, std::span<float> logits) {
  const auto classes = static_cast<std::size_t>(graph_.output().size());
  // One device after the other: an evaluation is not worth more.
  for (std::size_t i = 0; i < towers_.size(); ++i) {
    const TowerPart part = part_of_tower(count, i, towers_.size());
    if (part.size == 0) continue;
    const auto first = static_cast<std::size_t>(part.first), size = static_cast<std::size_t>(part.size);
    const auto sample = static_cast<std::size_t>(graph_.input.size());
    towers_[i]->predict(part.size, images.subspan(first * sample, size * sample),
                        logits.subspan(first * classes, size * classes));
  }
}

ResidentTraining* CudaExecutor::resident_training() {
  if (!resident_) resident_.emplace(towers_, collective_.get());
  return &*resident_;
}

std::vector<std::string> CudaExecutor::kernels() {
  return towers_[0]->kernels();
}

std::vector<LayerChoices> CudaExecutor::choices() {
  // Each of several devices has only a part of the batch, so callers compare the gradients of one device.
  if (towers_.size() > 1 || last_batch_size_ == 0) return {};
  towers_[0]->wait();
  return towers_[0]->plan_for(last_batch_size_).choices();
}

}  // namespace distmnist::cuda
