// The behaviour that ResidentTraining must have, tested on every backend whose executors provide it.
#include <algorithm>
#include <memory>

#include "lib/backend/backend.h"
#include "lib/base/random.h"
#include "lib/graph/slim.h"
#include "tests/lib/backend/backend_cases.h"
#include "tests/support/catch.h"
#include "tests/support/comparable_specs.h"
#include "tests/support/expect_error.h"

using namespace distmnist;

namespace {

constexpr std::int64_t kSamples = 40, kLargestBatch = 7;
constexpr CompileOptions kOptions{.max_batch_size = kLargestBatch, .seed = 3, .stream = 4};

// Contains a dropout, so that the sample numbers matter.
Graph small_graph() {
  auto net = slim::Net(6 * 5);
  net.reshape(6, 5, 1).conv2d(3, {3, 3}, "conv").max_pool2d({2, 2}, "pool").flatten("flatten");
  return net.dropout(0.5f, "dropout").fully_connected(4, "pred", Activation::kNone).build();
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
  const auto classes = static_cast<std::uint64_t>(graph.output().size());
  std::ranges::generate(bytes.labels, [&] { return static_cast<std::uint8_t>(random.below(classes)); });
  return bytes;
}

// Sample numbers in random order, some of them repeated.
std::vector<std::int32_t> draw(std::int64_t count, std::uint64_t seed) {
  Random random(seed, 2);
  std::vector<std::int32_t> samples(static_cast<std::size_t>(count));
  std::ranges::generate(samples, [&] { return static_cast<std::int32_t>(random.below(kSamples)); });
  return samples;
}

struct State {
  std::vector<float> parameters;
  std::vector<std::vector<float>> slots;
};

State start_state(const Graph& graph, OptimizerKind kind) {
  State state{.parameters = make_parameters(graph, 2), .slots = {}};
  for (const float start : slot_start_values(kind)) state.slots.emplace_back(state.parameters.size(), start);
  return state;
}

struct Steps {
  std::int64_t batch_size = 0;
  std::vector<std::int32_t> samples;
  std::uint64_t first_sample = 0;
};

// The same steps via the host, with the executor's gradients and the update of lib/optim.
class ByHand {
 public:
  ByHand(const std::string& backend, const Graph& graph, const OptimizerSpec& spec, State state,
         std::int64_t global_step)
      : graph_(graph),
        bytes_(make_bytes(graph)),
        spec_(spec),
        state_(std::move(state)),
        global_step_(global_step),
        executor_(make_executor(backend, graph, kOptions, state_.parameters)) {}

  void run(const Steps& steps) {
    for (std::size_t first = 0; first < steps.samples.size(); first += static_cast<std::size_t>(steps.batch_size)) {
      step(std::span(steps.samples).subspan(first, static_cast<std::size_t>(steps.batch_size)),
           steps.first_sample + first);
    }
  }
  const State& state() const { return state_; }
  StepResult last() const { return last_; }

 private:
  void step(std::span<const std::int32_t> numbers, std::uint64_t first_sample) {
    Samples samples;
    for (const std::int32_t number : numbers) {
      const auto size = static_cast<std::size_t>(graph_.input.size());
      for (const std::uint8_t pixel : std::span(bytes_.pixels).subspan(static_cast<std::size_t>(number) * size, size)) {
        samples.images.push_back(static_cast<float>(pixel) / 255.0f);
      }
      samples.labels.push_back(bytes_.labels.at(static_cast<std::size_t>(number)));
    }
    last_ = executor_->train_step(samples.batch(first_sample), {});
    const std::vector<std::span<float>> slots(state_.slots.begin(), state_.slots.end());
    apply_update(spec_, ++global_step_, {state_.parameters, slots, executor_->gradients(), state_.parameters});
    executor_->load({0, graph_.num_parameters}, state_.parameters);
  }

  const Graph& graph_;
  Bytes bytes_;
  OptimizerSpec spec_;
  State state_;
  std::int64_t global_step_;
  std::unique_ptr<Executor> executor_;
  StepResult last_;
};

class Resident {
 public:
  // The samples are loaded but the training has not started.
  Resident(const std::string& backend, const Graph& graph)
      : graph_(graph),
        bytes_(make_bytes(graph)),
        backend_(make_named_backend(backend)),
        executor_(backend_->compile(graph, kOptions)) {
    REQUIRE(executor_->resident_training() != nullptr);
    REQUIRE(training().keep_samples(bytes_.samples()));
  }

  void start(const OptimizerSpec& spec, const State& state, std::int64_t global_step) {
    executor_->load({0, graph_.num_parameters}, state.parameters);
    const std::vector<std::span<const float>> slots(state.slots.begin(), state.slots.end());
    training().start(spec, global_step, slots);
    num_slots_ = slots.size();
  }
  // The samples' memory can be released when this returns.
  void run(Steps steps) { training().run({steps.batch_size, steps.samples, steps.first_sample}); }
  State state() {
    State out{.parameters = read_all(*executor_, graph_), .slots = {}};
    for (std::size_t slot = 0; slot < num_slots_; ++slot) {
      training().read_slot(slot, out.slots.emplace_back(out.parameters.size()));
    }
    return out;
  }
  ResidentTraining& training() { return *executor_->resident_training(); }
  Executor& executor() { return *executor_; }

 private:
  const Graph& graph_;
  Bytes bytes_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Executor> executor_;
  std::size_t num_slots_ = 0;
};

std::vector<std::string> resident_backends() {
  std::vector<std::string> names;
  for (const std::string& name : backends_under_test()) {
    const auto backend = make_named_backend(name);
    if (backend->compile(small_graph(), kOptions)->resident_training() != nullptr) names.push_back(name);
  }
  return names;
}

// Compares bits, because both sides do the same sums in the same order and the same update.
void check_same(const State& actual, const State& expected) {
  CHECK((actual.parameters == expected.parameters));
  CHECK((actual.slots == expected.slots));
}

void check_same(const StepResult& actual, const StepResult& expected) {
  CHECK(actual.loss == expected.loss);
  CHECK(actual.correct == expected.correct);
}

}  // namespace

TEST_CASE("the reference backend has resident training") {
  CHECK(make_backend("reference")->compile(small_graph(), kOptions)->resident_training() != nullptr);
}

TEST_CASE("steps on the device equal separate steps and updates, with every optimizer") {
  const Graph graph = small_graph();
  for (const std::string& backend : resident_backends()) {
    Resident resident(backend, graph);
    for (const OptimizerKind kind : all_optimizers()) {
      INFO(backend << ", " << to_string(kind));
      const Steps steps{.batch_size = 5, .samples = draw(6 * 5, 9), .first_sample = 1000};
      const State begin = start_state(graph, kind);
      resident.start(comparable_spec(kind), begin, 0);
      resident.run(steps);
      ByHand by_hand(backend, graph, comparable_spec(kind), begin, 0);
      by_hand.run(steps);
      check_same(resident.training().last_step(), by_hand.last());
      check_same(resident.state(), by_hand.state());
      CHECK(relative_error(resident.state().parameters, begin.parameters) > 1e-3);
    }
  }
}

TEST_CASE("training resumes from a step, its parameters and its slots") {
  const Graph graph = small_graph();
  const OptimizerSpec spec = comparable_spec(OptimizerKind::kAdam);
  for (const std::string& backend : resident_backends()) {
    INFO(backend);
    const Steps first{.batch_size = 4, .samples = draw(3 * 4, 1), .first_sample = 0};
    const Steps second{.batch_size = 4, .samples = draw(2 * 4, 2), .first_sample = 12};
    Resident whole(backend, graph), resumed(backend, graph);
    whole.start(spec, start_state(graph, spec.kind), 0);
    whole.run(first);
    resumed.start(spec, whole.state(), 3);
    for (Resident* each : {&whole, &resumed}) each->run(second);
    CHECK(resumed.state().parameters == whole.state().parameters);
    CHECK(resumed.state().slots == whole.state().slots);
    resumed.start(spec, start_state(graph, spec.kind), 0);  // replaces the executor's earlier state
    resumed.run(first);
    ByHand by_hand(backend, graph, spec, start_state(graph, spec.kind), 0);
    by_hand.run(first);
    check_same(resumed.state(), by_hand.state());
  }
}

TEST_CASE("the batch size can change between runs, and the steps stay in order") {
  const Graph graph = small_graph();
  const OptimizerSpec spec = comparable_spec(OptimizerKind::kMomentum);
  for (const std::string& backend : resident_backends()) {
    INFO(backend);
    Resident resident(backend, graph);
    resident.start(spec, start_state(graph, spec.kind), 10);
    ByHand by_hand(backend, graph, spec, start_state(graph, spec.kind), 10);
    std::uint64_t first_sample = 500;
    for (const std::int64_t batch_size : {3, 1, 7, 2, 7}) {
      const Steps steps{batch_size, draw(2 * batch_size, first_sample), first_sample};
      resident.run(steps);
      by_hand.run(steps);
      first_sample += steps.samples.size();
    }
    check_same(resident.training().last_step(), by_hand.last());
    check_same(resident.state(), by_hand.state());
  }
}

TEST_CASE("prediction and a step via the host use the trained parameters") {
  const Graph graph = small_graph();
  const OptimizerSpec spec = comparable_spec(OptimizerKind::kSgd);
  for (const std::string& backend : resident_backends()) {
    INFO(backend);
    Resident resident(backend, graph);
    resident.start(spec, start_state(graph, spec.kind), 0);
    resident.run({.batch_size = 5, .samples = draw(20, 3), .first_sample = 0});
    const auto twin = make_executor(backend, graph, kOptions, resident.state().parameters);
    const Samples samples = make_samples(graph, 4, 8);
    CHECK(predict(resident.executor(), graph, samples) == predict(*twin, graph, samples));
    CHECK(train(resident.executor(), samples.batch()).gradients == train(*twin, samples.batch()).gradients);
  }
}

TEST_CASE("a label that the model has no class for is refused with its number") {
  const Graph graph = small_graph();
  for (const std::string& backend : resident_backends()) {
    INFO(backend);
    Resident resident(backend, graph);
    Bytes bytes = make_bytes(graph);
    bytes.labels[17] = 4;
    CHECK(fails_with(ExitCode::kData, "sample 17 of the batch has label 4",
                     [&] { resident.training().keep_samples(bytes.samples()); }));
  }
}
