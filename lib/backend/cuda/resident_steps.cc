#include "lib/backend/cuda/resident_steps.h"

#include <algorithm>
#include <cassert>

#include "lib/backend/cuda/kernels/update.h"

namespace distmnist::cuda {

void TowerSteps::keep_samples(const SampleBytes& samples) {
  tower_.wait();
  pixels_ = {};
  labels_ = {};
  DeviceMemory& memory = *tower_.gpu().memory;
  DeviceArray<std::uint8_t> pixels(memory, std::ssize(samples.pixels), "the training images");
  DeviceArray<std::uint8_t> labels(memory, std::ssize(samples.labels), "the training labels");
  const cudaStream_t main = tower_.streams().main();
  upload(main, pixels.data(), samples.pixels.data(), pixels.size());
  upload(main, labels.data(), samples.labels.data(), labels.size());
  tower_.wait();
  pixels_ = std::move(pixels);
  labels_ = std::move(labels);
  make_queue();
}

void TowerSteps::make_queue() {
  if (cursor_.size() != 0) return;
  DeviceMemory& memory = *tower_.gpu().memory;
  const std::int64_t samples = kMaxQueuedSteps * tower_.options().max_batch_size;
  queued_samples_ = DeviceArray<std::int32_t>(memory, samples, "queued steps");
  queued_scalars_ = DeviceArray<StepScalars>(memory, kMaxQueuedSteps, "queued steps");
  cursor_ = DeviceArray<std::uint32_t>(memory, 1, "queued steps");
  for (Upload& each : uploads_) {
    each = {PinnedArray<std::int32_t>(samples), PinnedArray<StepScalars>(kMaxQueuedSteps), make_event()};
  }
}

void TowerSteps::start(const OptimizerSpec& optimizer, std::span<const std::span<const float>> slots) {
  assert(slots.size() == slot_names(optimizer.kind).size() && slots.size() <= slots_.size());
  tower_.wait();
  const cudaStream_t main = tower_.streams().main();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (i >= slots.size()) {
      slots_[i] = {};
      continue;
    }
    if (slots_[i].size() == 0) {
      slots_[i] = DeviceArray<float>(*tower_.gpu().memory, tower_.parameters().size(), "the optimizer's slots");
    }
    upload(main, slots_[i].data(), slots[i].data(), slots_[i].size());
  }
  tower_.wait();
  optimizer_ = optimizer;
  // They contain the old optimizer's constants and addresses.
  for (Captured* captured : {&step_, &gradients_, &update_}) *captured = {};
}

void TowerSteps::read_slot(std::size_t slot, std::span<float> values) const {
  tower_.wait();
  download(tower_.streams().main(), values.data(), slots_[slot].data(), slots_[slot].size());
  synchronize(tower_.streams().main());
}

void TowerSteps::queue(std::span<const std::int32_t> samples, std::span<const StepScalars> scalars) {
  assert(std::ssize(scalars) <= kMaxQueuedSteps);
  tower_.make_current();
  tower_.settle_parameters();
  Upload& target = uploads_[next_upload_];
  next_upload_ = (next_upload_ + 1) % uploads_.size();
  check(cudaEventSynchronize(target.uploaded.get()), "wait for steps");
  std::ranges::copy(samples, target.samples.data());
  std::ranges::copy(scalars, target.scalars.data());
  const cudaStream_t main = tower_.streams().main();
  upload(main, queued_samples_.data(), target.samples.data(), std::ssize(samples));
  upload(main, queued_scalars_.data(), target.scalars.data(), std::ssize(scalars));
  next_step_ = 0;
  check(cudaMemsetAsync(cursor_.data(), 0, cursor_.size_bytes(), main), "start a queue of steps");
  check(cudaEventRecord(target.uploaded.get(), main), "record an event");
}

void TowerSteps::run_step(std::int64_t part, std::int64_t divisor) {
  run_captured(step_, part, divisor, [&] {
    enqueue_gradients(part, divisor);
    enqueue_update();
  });
  tower_.parameters_have_changed();  // After the run, because a first run brings them up to date.
}

void TowerSteps::run_gradients(std::int64_t part, std::int64_t divisor) {
  const std::int64_t step = next_step_++;
  if (part == 0) {
    tower_.clear_gradients();
    copy_async<cudaMemcpyDeviceToDevice>(tower_.streams().main(), tower_.current(), queued_scalars_.data() + step, 1);
    return;
  }
  run_captured(gradients_, part, divisor, [&] { enqueue_gradients(part, divisor); });
}

void TowerSteps::run_update() {
  run_captured(update_, 0, 0, [&] { enqueue_update(); });
  tower_.parameters_have_changed();
}

// Launches the work that `enqueue` puts on the streams as one graph, which is captured on first use.
template <typename Enqueue>
void TowerSteps::run_captured(Captured& captured, std::int64_t part, std::int64_t divisor, Enqueue enqueue) {
  tower_.make_current();
  const cudaStream_t main = tower_.streams().main();
  const std::uint64_t plan = part == 0 ? 0 : tower_.plan_for(part).id();
  if (!captured.graph || captured.plan != plan || captured.divisor != divisor) {
    if (part != 0) warm_up(part);
    captured = {};
    // Relaxed, because other threads may allocate memory meanwhile, and the driver may load kernels that are first used
    // here.
    check(cudaStreamBeginCapture(main, cudaStreamCaptureModeRelaxed), "capture a step");
    cudaGraph_t raw = nullptr;
    try {
      enqueue();
    } catch (...) {
      cudaStreamEndCapture(main, &raw);
      CapturedGraph discarded(raw);
      throw;
    }
    check(cudaStreamEndCapture(main, &raw), "capture a step");
    const CapturedGraph graph(raw);
    cudaGraphExec_t execution = nullptr;
    check(cudaGraphInstantiate(&execution, graph.get(), 0), "prepare a captured step");
    std::size_t nodes = 0;
    check(cudaGraphGetNodes(graph.get(), nullptr, &nodes), "count a step's kernels");
    captured = {GraphExecution(execution), plan, divisor, static_cast<std::int64_t>(nodes)};
  }
  check(cudaGraphLaunch(captured.graph.get(), main), "start a captured step");
}

// Runs the plan once outside of a capture, because libraries load their kernels and allocate memory on their first
// call, which a capture does not allow. The results are not used.
void TowerSteps::warm_up(std::int64_t part) {
  Plan& plan = tower_.plan_for(part);
  if (plan.id() == warm_plan_) return;
  tower_.settle_parameters();
  const cudaStream_t main = tower_.streams().main();
  check(cudaMemsetAsync(plan.input().data, 0, static_cast<std::size_t>(plan.input().size_bytes()), main),
        "clear samples");
  check(cudaMemsetAsync(plan.labels(), 0, static_cast<std::size_t>(part), main), "clear labels");
  check(cudaMemsetAsync(tower_.current(), 0, sizeof(StepScalars), main), "clear a step's scalars");
  tower_.compute(part, part, nullptr);
  warm_plan_ = plan.id();
}

void TowerSteps::enqueue_gradients(std::int64_t part, std::int64_t divisor) {
  const cudaStream_t main = tower_.streams().main();
  Plan& plan = tower_.plan_for(part);
  const StepQueue queue{queued_scalars_.data(), queued_samples_.data(), cursor_.data(), tower_.current()};
  // The copies of the updated values are made in parallel with the gathering.
  tower_.streams().side_waits();
  tower_.parameters().refresh(tower_.streams().side(), /*without_bf16=*/true);
  gather_batch(main, {pixels_.data(), labels_.data()}, queue, {plan.input(), plan.labels()});
  tower_.streams().main_waits();
  const Step step{.streams = tower_.streams(), .training = true, .current = tower_.current()};
  plan.forward(step);
  plan.loss(main, divisor, cursor_.data());
  plan.backward(step);
}

void TowerSteps::enqueue_update() {
  Parameters& parameters = tower_.parameters();
  const Range all{0, parameters.size()};
  const cudaStream_t main = tower_.streams().main();
  update(main, optimizer_, tower_.current(),
         {.parameters = parameters.values(all),
          .first_slot = slots_[0].data(),
          .second_slot = slots_[1].data(),
          .gradient = parameters.gradients(all),
          .bf16_copy = parameters.bf16_copy(),
          .size = parameters.size()});
}

}  // namespace distmnist::cuda
