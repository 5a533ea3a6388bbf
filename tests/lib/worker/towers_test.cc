#include "lib/worker/towers.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <stdexcept>
#include <thread>

#include "lib/graph/slim.h"
#include "models/models.h"
#include "tests/lib/backend/backend_cases.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/tolerance.h"

using namespace distmnist;

namespace {

const CompileOptions kOptions{.max_batch_size = 8, .seed = 3, .stream = 4};

Graph net_with_dropout() {
  auto net = slim::Net(8 * 6);
  net.reshape(8, 6, 1).conv2d(5, {3, 3}, "conv").max_pool2d({2, 2}, "pool").flatten("flatten").dropout(0.5f, "dropout");
  return net.fully_connected(4, "pred", Activation::kNone).build();
}

// Towers on these backends, with the parameters loaded.
std::unique_ptr<Executor> towers_on(const std::vector<std::string>& backends, const Graph& graph,
                                    const std::vector<float>& parameters) {
  std::vector<std::unique_ptr<Executor>> executors;
  for (const std::string& backend : backends)
    executors.push_back(make_named_backend(backend)->compile(graph, kOptions));
  auto towers = make_towers(std::move(executors));
  towers->load({0, graph.num_parameters}, parameters);
  return towers;
}

std::vector<std::string> times(std::size_t count, const std::string& backend) {
  return std::vector<std::string>(count, backend);
}

// Has two variables of one float each. The gradient of both is `value`, and the loss is the batch's first pixel.
// Announces the second variable and then the first one, each after a pause.
class FakeExecutor final : public Executor {
 public:
  struct Script {
    float value = 0;
    int pause_ms = 0;
    std::string failure;  // if not empty, thrown during a step
    std::atomic<int> steps = 0;
    std::thread::id thread;  // of the last step
    Batch batch;             // of the last step
  };

  explicit FakeExecutor(Script& script) : script_(script) {}
  void load(Range, std::span<const float>) override {}
  void read(Range, std::span<float>) const override {}
  std::vector<std::string> kernels() override { return {}; }
  std::span<float> gradients() override { return gradients_; }
  void predict(std::int64_t, std::span<const float>, std::span<float>) override {
    if (!script_.failure.empty()) throw std::runtime_error(script_.failure);
  }

  StepResult train_step(const Batch& batch, const GradientReady& ready) override {
    script_.batch = batch;
    script_.thread = std::this_thread::get_id();
    announce(1, ready);
    if (!script_.failure.empty()) throw std::runtime_error(script_.failure);
    announce(0, ready);
    ++script_.steps;
    return {.loss = batch.images[0], .correct = batch.size};
  }

 private:
  void announce(std::int64_t variable, const GradientReady& ready) {
    std::this_thread::sleep_for(std::chrono::milliseconds(script_.pause_ms));
    gradients_[static_cast<std::size_t>(variable)] = script_.value;
    ready({variable, 1});
  }

  Script& script_;
  std::vector<float> gradients_ = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::quiet_NaN()};
};

std::unique_ptr<Executor> fake_towers(std::vector<FakeExecutor::Script>& scripts) {
  std::vector<std::unique_ptr<Executor>> executors;
  for (FakeExecutor::Script& script : scripts) executors.push_back(std::make_unique<FakeExecutor>(script));
  return make_towers(std::move(executors));
}

// One pixel each: 0, 1, 2, ...
Samples numbered_samples(std::int64_t count) {
  Samples samples;
  for (std::int64_t i = 0; i < count; ++i) {
    samples.images.push_back(static_cast<float>(i));
    samples.labels.push_back(static_cast<std::uint8_t>(i));
  }
  return samples;
}

}  // namespace

TEST_CASE("a batch is divided into parts in order, and the first parts are at most one sample larger") {
  const auto parts = [](std::int64_t batch, std::size_t towers) {
    std::vector<TowerPart> all;
    for (std::size_t i = 0; i < towers; ++i) all.push_back(part_of_tower(batch, i, towers));
    return all;
  };
  CHECK(parts(8, 3) == std::vector<TowerPart>{{0, 3}, {3, 3}, {6, 2}});
  CHECK(parts(6, 2) == std::vector<TowerPart>{{0, 3}, {3, 3}});
  CHECK(parts(2, 3) == std::vector<TowerPart>{{0, 1}, {1, 1}, {2, 0}});
  CHECK(parts(5, 1) == std::vector<TowerPart>{{0, 5}});
}

TEST_CASE("towers give the same result as one device for the whole batch") {
  const std::string backend = GENERATE(from_range(backends_under_test()));
  const auto& [graph, batches] = GENERATE(table<Graph, std::vector<std::int64_t>>({
      {net_with_dropout(), {1, 2, 5, 7, 8}},  // also with fewer samples than towers
      {mnist_cnn(), {5}},
  }));
  const std::size_t num_towers = GENERATE(1, 2, 3);
  const std::vector<float> parameters = make_parameters(graph, 2);
  const auto alone = make_executor(backend, graph, kOptions, parameters);
  const auto towers = towers_on(times(num_towers, backend), graph, parameters);
  const double both_off = 2 * error_bound(backend, graph);
  for (const std::int64_t batch : batches) {
    INFO(num_towers << " towers on " << backend << ", " << batch << " samples");
    const Samples samples = make_samples(graph, batch, 1);
    const TrainOutcome expected = train(*alone, samples.batch(77));
    const TrainOutcome outcome = train(*towers, samples.batch(77));
    CHECK(outcome.result.loss == Approx(expected.result.loss).epsilon(both_off));
    CHECK(outcome.result.correct == expected.result.correct);
    for (const Variable& variable : graph.variables) {
      INFO(variable.name);
      CHECK(relative_error(slice(std::span<const float>(outcome.gradients), variable.range),
                           slice(std::span<const float>(expected.gradients), variable.range)) < both_off);
    }
    CHECK(relative_error(predict(*towers, graph, samples), predict(*alone, graph, samples)) < both_off);
    CHECK(read_all(*towers, graph) == parameters);
  }
}

TEST_CASE("devices of different kinds work together") {
  const Graph graph = mlp();
  const std::vector<float> parameters = make_parameters(graph, 2);
  const Samples samples = make_samples(graph, 7, 1);
  const auto alone = make_executor("reference", graph, kOptions, parameters);
  const auto towers = towers_on({"cpu", "reference", "cpu"}, graph, parameters);
  CHECK(relative_error(train(*towers, samples.batch()).gradients, train(*alone, samples.batch()).gradients) <
        error_bound("cpu", graph) + error_bound("reference", graph));
}

TEST_CASE("repeating a step gives the same bits") {
  const Graph graph = net_with_dropout();
  const std::vector<float> parameters = make_parameters(graph, 2);
  const Samples samples = make_samples(graph, 8, 1);
  const TrainOutcome first = train(*towers_on(times(3, "cpu"), graph, parameters), samples.batch());
  for (int run = 0; run < 3; ++run) {
    const auto again = towers_on(times(3, "cpu"), graph, parameters);
    for (int step = 0; step < 5; ++step) {
      const TrainOutcome outcome = train(*again, samples.batch());
      CHECK(outcome.result.loss == first.result.loss);
      CHECK(outcome.gradients == first.gradients);
    }
  }
}

TEST_CASE("new parameters reach every tower") {
  const Graph graph = mlp();
  const Samples samples = make_samples(graph, 6, 1);
  const auto towers = towers_on(times(2, "cpu"), graph, make_parameters(graph, 2));
  train(*towers, samples.batch());
  const std::vector<float> later = make_parameters(graph, 9);
  towers->load({0, graph.num_parameters}, later);
  const auto fresh = towers_on(times(2, "cpu"), graph, later);
  CHECK(train(*towers, samples.batch()).gradients == train(*fresh, samples.batch()).gradients);
  CHECK(predict(*towers, graph, samples) == predict(*fresh, graph, samples));
}

TEST_CASE("gradients and loss are weighted by the samples of each tower") {
  std::vector<FakeExecutor::Script> scripts(3);
  scripts[0].value = 1;
  scripts[1].value = 10;
  scripts[2].value = 100;
  const auto towers = fake_towers(scripts);
  const Samples samples = numbered_samples(8);
  const TrainOutcome outcome = train(*towers, samples.batch(40));
  // Parts with 3, 3 and 2 samples.
  CHECK(outcome.gradients[0] == Approx((3 * 1 + 3 * 10 + 2 * 100) / 8.0));
  CHECK(outcome.gradients[1] == outcome.gradients[0]);
  CHECK(outcome.result.loss == Approx((3 * 0 + 3 * 3 + 2 * 6) / 8.0));
  CHECK(outcome.result.correct == 8);
  CHECK(scripts[1].batch.first_sample == 43);
  CHECK(scripts[1].batch.labels.front() == 3);
  CHECK(scripts[2].batch.size == 2);
}

TEST_CASE("a tower without a sample does nothing") {
  std::vector<FakeExecutor::Script> scripts(3);
  scripts[0].value = 2;
  scripts[1].value = 4;
  const auto towers = fake_towers(scripts);
  CHECK(train(*towers, numbered_samples(2).batch()).gradients == std::vector<float>{3, 3});
  CHECK(scripts[2].steps == 0);
  CHECK(train(*towers, numbered_samples(1).batch()).gradients == std::vector<float>{2, 2});
  CHECK(scripts[1].steps == 1);
}

TEST_CASE("the caller announces each variable once, later ones first, when all towers have it") {
  std::vector<FakeExecutor::Script> scripts(3);
  for (FakeExecutor::Script& script : scripts) script.value = 6;
  const std::size_t slow = GENERATE(0, 1, 2);
  scripts[slow].pause_ms = 20;
  const auto towers = fake_towers(scripts);
  const std::thread::id caller = std::this_thread::get_id();
  std::vector<Range> announced;
  for (int step = 0; step < 3; ++step) {
    const Samples samples = numbered_samples(3);
    towers->train_step(samples.batch(), [&](Range variable) {
      CHECK(std::this_thread::get_id() == caller);
      CHECK(towers->gradients()[static_cast<std::size_t>(variable.offset)] == Approx(6));
      announced.push_back(variable);
    });
  }
  CHECK(announced == std::vector<Range>{{1, 1}, {0, 1}, {1, 1}, {0, 1}, {1, 1}, {0, 1}});
}

TEST_CASE("each tower keeps its own thread") {
  std::vector<FakeExecutor::Script> scripts(2);
  const auto towers = fake_towers(scripts);
  train(*towers, numbered_samples(2).batch());
  const std::thread::id first = scripts[0].thread, second = scripts[1].thread;
  CHECK(first != second);
  train(*towers, numbered_samples(2).batch());
  CHECK(scripts[0].thread == first);
  CHECK(scripts[1].thread == second);
}

TEST_CASE("an exception from a tower is thrown after all towers have stopped, and the towers can be used again") {
  std::vector<FakeExecutor::Script> scripts(3);
  scripts[1].failure = "the second";
  scripts[2].failure = "the third";
  scripts[0].pause_ms = 20;  // it ends last
  scripts[1].pause_ms = 10;
  const auto towers = fake_towers(scripts);
  const Samples samples = numbered_samples(3);
  std::vector<Range> announced;
  const auto step = [&] { towers->train_step(samples.batch(), [&](Range range) { announced.push_back(range); }); };
  CHECK_THROWS_WITH(step(), "the second");
  CHECK(scripts[0].steps == 1);
  CHECK(announced == std::vector<Range>{{1, 1}});
  std::vector<float> logits(3);
  CHECK_THROWS_WITH(towers->predict(3, samples.images, logits), "the second");
  scripts[1].failure = scripts[2].failure = "";
  step();
  CHECK(announced == std::vector<Range>{{1, 1}, {1, 1}, {0, 1}});
}

TEST_CASE("an exception from a gradient callback is thrown after all towers have stopped, and they can be used again") {
  std::vector<FakeExecutor::Script> scripts(2);
  scripts[1].pause_ms = 10;
  const auto towers = fake_towers(scripts);
  const Samples samples = numbered_samples(2);
  CHECK_THROWS_WITH(towers->train_step(samples.batch(), [](Range) { throw std::runtime_error("push failed"); }),
                    "push failed");
  CHECK(scripts[0].steps == 1);
  CHECK(scripts[1].steps == 1);
  train(*towers, samples.batch());
  CHECK(scripts[1].steps == 2);
}

TEST_CASE("an error of a tower keeps its exit code") {
  const Graph graph = mlp();
  const auto towers = towers_on(times(2, "reference"), graph, make_parameters(graph, 2));
  Samples samples = make_samples(graph, 4, 1);
  samples.labels[3] = 10;
  CHECK(fails_with(ExitCode::kData, "label 10", [&] { towers->train_step(samples.batch(), {}); }));
}
