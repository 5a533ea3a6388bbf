#include "lib/worker/training.h"

#include <cmath>
#include <filesystem>

#include "data/synthetic.h"
#include "lib/graph/initializers.h"
#include "lib/ps/in_process_client.h"
#include "lib/supervisor/saver.h"
#include "models/models.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

namespace {

TrainAndTest small_digits() {
  return {make_synthetic_digits(400, 1, Split::kTrain, 2), make_synthetic_digits(100, 1, Split::kTest, 2), "drawn",
          true};
}

std::vector<Range> ranges_of(const Graph& graph) {
  std::vector<Range> out;
  for (const Variable& variable : graph.variables) out.push_back(variable.range);
  return out;
}

// Local training of the softmax model with the reference backend, as the program puts it together.
struct Run {
  explicit Run(const RunFolder* folder = nullptr, double learning_rate = 0.01) : client(ranges_of(graph)) {
    CompileOptions options;
    options.max_batch_size = config.batch_size = 20;
    executor = make_backend("reference")->compile(graph, options);
    SupervisorConfig supervision;
    supervision.chief = config.chief = true;
    supervision.identity = {"softmax", describe(graph), graph.variables, {}};
    supervision.identity.optimizer.learning_rate = static_cast<float>(learning_rate);
    supervisor = std::make_unique<Supervisor>(supervision, graph, client, folder);
    config.log_every = 1'000'000;
  }

  ExitCode train(std::int64_t steps, std::optional<ExitCode> signal = std::nullopt) {
    config.train_steps = steps;
    Console console(0, ProgressStyle::kNone, steps);
    return run_training(config,
                        {data, *executor, 10, client, *supervisor, console, nullptr, [signal] { return signal; }});
  }

  std::vector<float> parameters() { return client.snapshot().parameters; }

  Graph graph = softmax();
  TrainAndTest data = small_digits();
  InProcessClient client;
  std::unique_ptr<Executor> executor;
  std::unique_ptr<Supervisor> supervisor;
  TrainingConfig config;
};

}  // namespace

TEST_CASE("training reaches its steps exactly and changes the parameters for the better") {
  Run run;
  CHECK(run.train(150) == ExitCode::kOk);
  CHECK(run.client.snapshot().global_step == 150);
  CHECK(run.client.snapshot().consumed_samples.at(0) == 150 * run.config.batch_size);
}

TEST_CASE("the same seed gives the same bits, another seed others") {
  Run first, second, third;
  third.config.seed = 1;
  for (Run* run : {&first, &second, &third}) run->train(20);
  CHECK(first.parameters() == second.parameters());
  CHECK(first.parameters() != third.parameters());
}

TEST_CASE("a run that is stopped and resumed ends with the bits of one that was not") {
  TempDir temp;
  {
    const RunFolder folder(temp.path(), false);
    Run run(&folder);
    run.train(10);
  }
  const RunFolder folder(temp.path(), false);
  Run resumed(&folder), whole;
  resumed.train(25);
  whole.train(25);
  CHECK(resumed.client.snapshot().global_step == 25);
  CHECK(resumed.parameters() == whole.parameters());
}

TEST_CASE("a signal ends training with its code, after saving") {
  TempDir temp;
  const RunFolder folder(temp.path(), false);
  Run run(&folder);
  CHECK(run.train(100, ExitCode::kTerminated) == ExitCode::kTerminated);
  CHECK(list_checkpoints(temp.path()).size() == 1);
}

TEST_CASE("a run that has reached its steps saves nothing and does not train") {
  TempDir temp;
  {
    const RunFolder folder(temp.path(), false);
    Run run(&folder);
    run.train(5);
  }
  const auto written = std::filesystem::last_write_time(list_checkpoints(temp.path()).at(0).path);
  const RunFolder folder(temp.path(), false);
  Run again(&folder);
  CHECK(again.train(5) == ExitCode::kOk);
  CHECK(again.client.snapshot().global_step == 5);
  REQUIRE(list_checkpoints(temp.path()).size() == 1);
  CHECK(std::filesystem::last_write_time(list_checkpoints(temp.path()).at(0).path) == written);
}

TEST_CASE("a loss that is not finite ends the run with the code for divergence") {
  Run run(nullptr, 1e38);
  try {
    run.train(50);
    FAIL("it went on");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kDiverged);
  }
}

TEST_CASE("a model that another worker has ruined is never saved") {
  TempDir temp;
  const RunFolder folder(temp.path(), false);
  Run run(&folder);
  run.train(5);
  const std::vector<float> ruin(static_cast<std::size_t>(run.graph.num_parameters), std::nanf(""));
  const ParameterSink ignore = [](Range, std::span<const float>) {};
  run.client.begin_push(ruin, 5, 20);
  run.client.finish_push(ignore);
  try {
    run.supervisor->save_now();
    FAIL("it was saved");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kDiverged);
  }
  REQUIRE(list_checkpoints(temp.path()).size() == 1);
  CHECK(list_checkpoints(temp.path()).at(0).global_step == 5);
}
