// Resident training of the cpu backend, whose kernels include the updates. resident_training_test.cc tests what all
// backends have in common.
#include "lib/backend/cpu/cpu_resident_training.h"

#include <algorithm>

#include <fmt/core.h>

#include "lib/backend/cpu/cpu_backend.h"
#include "lib/base/random.h"
#include "lib/graph/slim.h"
#include "tests/lib/backend/backend_cases.h"
#include "tests/support/catch.h"
#include "tests/support/comparable_specs.h"
#include "tests/support/cpu_tiers.h"

using namespace distmnist;

namespace {

constexpr std::int64_t kSamples = 30, kBatch = 7;

// Pooled convolutions, one of them with weights that several threads update; a convolution without a pool; matrices
// that one thread or several threads compute; and a dropout, so that the sample numbers matter.
Graph mixed_graph() {
  auto net = slim::Net(8 * 8);
  net.reshape(8, 8, 1).conv2d(32, {3, 3}, "conv1").max_pool2d({2, 2}, "pool1");
  net.conv2d(64, {5, 5}, "conv2").max_pool2d({2, 2}, "pool2").conv2d(7, {3, 3}, "conv3").flatten("flatten");
  net.fully_connected(300, "fc1").fully_connected(260, "fc2").dropout(0.5f, "dropout");
  return net.fully_connected(4, "pred", Activation::kNone).build();
}

struct State {
  std::vector<float> parameters;
  std::vector<std::vector<float>> slots;

  bool operator==(const State&) const = default;
};

State start_state(const Graph& graph, OptimizerKind kind) {
  State state{.parameters = make_parameters(graph, 2), .slots = {}};
  for (const float start : slot_start_values(kind)) state.slots.emplace_back(state.parameters.size(), start);
  return state;
}

struct Bytes {
  std::vector<std::uint8_t> pixels, labels;
  SampleBytes samples() const { return {std::ssize(labels), pixels, labels}; }
};

Bytes make_bytes(const Graph& graph) {
  Random random(5, 1);
  Bytes bytes{.pixels = std::vector<std::uint8_t>(static_cast<std::size_t>(kSamples * graph.input.size())),
              .labels = std::vector<std::uint8_t>(kSamples)};
  std::ranges::generate(bytes.pixels, [&] { return static_cast<std::uint8_t>(random.below(256)); });
  std::ranges::generate(bytes.labels, [&] { return static_cast<std::uint8_t>(random.below(4)); });
  return bytes;
}

std::vector<std::int32_t> draw(std::int64_t count, std::uint64_t seed) {
  Random random(seed, 2);
  std::vector<std::int32_t> samples(static_cast<std::size_t>(count));
  std::ranges::generate(samples, [&] { return static_cast<std::int32_t>(random.below(kSamples)); });
  return samples;
}

// Steps with these batch sizes, starting at the worker's sample `first_sample`.
struct Steps {
  std::vector<std::int64_t> sizes;
  std::uint64_t first_sample = 0;
};

// How an executor is created and trained.
struct Run {
  CpuOptions tier;
  OptimizerKind kind = OptimizerKind::kAdam;
  Precision precision = Precision::kF32;
  int threads = 3;
  std::int64_t largest_batch = kBatch;

  CompileOptions options() const {
    return {.max_batch_size = largest_batch, .precision = precision, .threads = threads, .seed = 3, .stream = 4};
  }
};

std::string name_of(const Run& run) {
  return fmt::format("{}, {}, threads {}, {}", name_of(run.tier), to_string(run.precision), run.threads,
                     to_string(run.kind));
}

// Every optimizer in every precision, and every tier on one thread and on several.
std::vector<Run> runs() {
  std::vector<Run> runs;
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    for (const OptimizerKind kind : all_optimizers()) runs.push_back({cpu_tiers().back(), kind, precision});
    for (const CpuOptions& tier : cpu_tiers()) {
      for (const int threads : {1, 3}) runs.push_back({tier, OptimizerKind::kAdam, precision, threads});
    }
  }
  return runs;
}

// One executor, trained in either way.
class Trained {
 public:
  Trained(const Run& run, const Graph& graph)
      : graph_(graph),
        bytes_(make_bytes(graph)),
        spec_(comparable_spec(run.kind)),
        state_(start_state(graph, run.kind)),
        executor_(make_cpu_backend(run.tier)->compile(graph, run.options())) {
    REQUIRE(training().keep_samples(bytes_.samples()));
  }

  void resident(const Steps& steps) {
    executor_->load({0, graph_.num_parameters}, state_.parameters);
    training().start(spec_, global_step_,
                     std::vector<std::span<const float>>(state_.slots.begin(), state_.slots.end()));
    std::uint64_t first_sample = steps.first_sample;
    for (const std::int64_t size : steps.sizes) {
      training().run({size, draw(size, first_sample), first_sample});
      first_sample += static_cast<std::uint64_t>(size);
      ++global_step_;
    }
    last_ = training().last_step();
    state_.parameters = read_all(*executor_, graph_);
    for (std::size_t slot = 0; slot < state_.slots.size(); ++slot) training().read_slot(slot, state_.slots[slot]);
  }

  void by_hand(const Steps& steps) {
    std::uint64_t first_sample = steps.first_sample;
    for (const std::int64_t size : steps.sizes) {
      executor_->load({0, graph_.num_parameters}, state_.parameters);
      last_ = executor_->train_step(gather(draw(size, first_sample)).batch(first_sample), {});
      const std::vector<std::span<float>> slots(state_.slots.begin(), state_.slots.end());
      apply_update(spec_, ++global_step_, {state_.parameters, slots, executor_->gradients(), state_.parameters});
      first_sample += static_cast<std::uint64_t>(size);
    }
  }

  const State& state() const { return state_; }
  StepResult last() const { return last_; }

 private:
  ResidentTraining& training() { return *executor_->resident_training(); }
  Samples gather(const std::vector<std::int32_t>& numbers) const {
    Samples samples;
    const auto size = static_cast<std::size_t>(graph_.input.size());
    for (const std::int32_t number : numbers) {
      const auto at = static_cast<std::size_t>(number);
      for (const std::uint8_t pixel : std::span(bytes_.pixels).subspan(at * size, size)) {
        samples.images.push_back(static_cast<float>(pixel) / 255.0f);
      }
      samples.labels.push_back(bytes_.labels.at(at));
    }
    return samples;
  }

  const Graph& graph_;
  Bytes bytes_;
  OptimizerSpec spec_;
  State state_;
  std::int64_t global_step_ = 0;
  std::unique_ptr<Executor> executor_;
  StepResult last_;
};

// Full and partial batches.
const Steps kFirst{{kBatch, 3, kBatch, 1}, 1000}, kSecond{{kBatch, kBatch, 5}, 1000 + 2 * kBatch + 4};

}  // namespace

TEST_CASE("resident steps of the cpu backend equal separate steps and updates bit for bit, with every optimizer") {
  const Graph graph = mixed_graph();
  for (const Run& run : runs()) {
    INFO(name_of(run));
    Trained resident(run, graph), by_hand(run, graph);
    resident.resident(kFirst);
    by_hand.by_hand(kFirst);
    CHECK(resident.last().loss == by_hand.last().loss);
    CHECK(resident.last().correct == by_hand.last().correct);
    CHECK((resident.state() == by_hand.state()));
    CHECK(relative_error(resident.state().parameters, start_state(graph, run.kind).parameters) > 1e-4);
  }
}

TEST_CASE("resident training repeats the same bits, also after a stop") {
  const Graph graph = mixed_graph();
  Steps both = kFirst;
  both.sizes.insert(both.sizes.end(), kSecond.sizes.begin(), kSecond.sizes.end());
  for (const Run& run : runs()) {
    INFO(name_of(run));
    Trained whole(run, graph), again(run, graph), stopped(run, graph);
    whole.resident(both);
    again.resident(both);
    CHECK((again.state() == whole.state()));
    stopped.resident(kFirst);
    stopped.resident(kSecond);
    CHECK((stopped.state() == whole.state()));
  }
}

TEST_CASE("a batch too large for an update inside the product is still updated") {
  auto net = slim::Net(70);
  const Graph graph = net.fully_connected(40, "hidden").fully_connected(4, "pred", Activation::kNone).build();
  const int threads = GENERATE(1, 3);
  for (const CpuOptions& tier : cpu_tiers()) {
    for (const std::int64_t size : {256, 257, 300}) {
      const Run run{tier, OptimizerKind::kSgd, Precision::kF32, threads, 300};
      INFO(name_of(run) << ", batch of " << size);
      Trained resident(run, graph), by_hand(run, graph);
      resident.resident({{size}});
      by_hand.by_hand({{size}});
      CHECK((resident.state() == by_hand.state()));
    }
  }
}
