#include "lib/worker/training.h"

#include <cmath>
#include <filesystem>
#include <optional>

#include "lib/math/magnitudes.h"
#include "lib/supervisor/saver.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/into.h"
#include "tests/support/local_run.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

TEST_CASE("training ends exactly at its last step and improves the parameters") {
  Run run;
  CHECK(run.train(150) == ExitCode::kOk);
  CHECK(run.client->snapshot().value().global_step == 150);
  CHECK(run.client->snapshot().value().consumed_samples.at(0) == 150 * 20);
}

TEST_CASE("the slots of a new model have their optimizer's start values") {
  for (const OptimizerKind kind : all_optimizers()) {
    Run run(nullptr, 0.01, kind);
    run.supervisor->prepare();
    const StoredModel model = run.client->snapshot().value();
    const std::vector<float> starts = slot_start_values(kind);
    REQUIRE(model.slots.size() == starts.size());
    for (std::size_t slot = 0; slot < starts.size(); ++slot) {
      CHECK(model.slots[slot] == std::vector<float>(model.parameters.size(), starts[slot]));
    }
  }
}

TEST_CASE("the same seed gives the same bits, a different seed different bits") {
  Run first, second, third;
  third.config.seed = 1;
  for (Run* run : {&first, &second, &third}) run->train(20);
  CHECK(first.parameters() == second.parameters());
  CHECK(first.parameters() != third.parameters());
}

TEST_CASE("a run that is stopped and resumed gives the same bits as one that was not") {
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
  CHECK(resumed.client->snapshot().value().global_step == 25);
  CHECK(resumed.parameters() == whole.parameters());
}

TEST_CASE("augmented training is repeatable, also after a stop and a resume, and differs from plain training") {
  TempDir temp;
  {
    const RunFolder folder(temp.path(), false);
    Run run(&folder);
    run.config.augmentation = Augmentation::kAffine;
    run.train(10);
  }
  const RunFolder folder(temp.path(), false);
  Run resumed(&folder), whole, plain;
  resumed.config.augmentation = whole.config.augmentation = Augmentation::kAffine;
  for (Run* run : {&resumed, &whole, &plain}) run->train(45);  // into the third pass
  CHECK(resumed.parameters() == whole.parameters());
  CHECK(plain.parameters() != whole.parameters());
}

TEST_CASE("the batch size follows its schedule, and a resumed run continues it where the old one stopped") {
  TempDir temp;
  const auto schedule = BatchSizeSchedule::parse("0:20,5:40,8:10");
  {
    const RunFolder folder(temp.path(), false);
    Run run(&folder);
    run.config.batch_sizes = schedule;
    run.train(6);
    CHECK(run.client->snapshot().value().consumed_samples.at(0) == 5 * 20 + 40);
  }
  const RunFolder folder(temp.path(), false);
  Run resumed(&folder), whole, constant;
  resumed.config.batch_sizes = whole.config.batch_sizes = schedule;
  for (Run* run : {&resumed, &whole, &constant}) run->train(12);
  CHECK(whole.client->snapshot().value().consumed_samples.at(0) == 5 * 20 + 3 * 40 + 4 * 10);
  CHECK(resumed.client->snapshot().value().consumed_samples.at(0) ==
        whole.client->snapshot().value().consumed_samples.at(0));
  CHECK(resumed.parameters() == whole.parameters());
  CHECK(constant.parameters() != whole.parameters());
}

TEST_CASE("the accuracy of a batch uses the size of that batch, whatever the schedule") {
  TempDir temp;
  std::optional<BackgroundMetrics> metrics(temp / "metrics.csv");
  Run run;
  const std::vector<std::uint8_t> same(400, 3);  // all images have the same label, so soon every answer is right
  run.data.train.labels = same;
  run.config.batch_sizes = BatchSizeSchedule::parse("0:20,50:40,52:10");
  run.config.log_every = 1;
  run.metrics = &*metrics;
  run.train(54);
  metrics.reset();  // its thread has written all rows
  const std::vector<std::string> accuracies = column(temp / "metrics.csv", "accuracy");
  REQUIRE(accuracies.size() == 54);
  for (std::size_t step = 49; step < 54; ++step) CHECK(accuracies[step] == "1.0000");
}

TEST_CASE("metrics count the pushes and the time of the steps so far") {
  TempDir temp;
  std::optional<BackgroundMetrics> metrics(temp / "metrics.csv");
  Run run;
  run.config.log_every = 2;
  run.metrics = &*metrics;
  run.train(6);
  metrics.reset();
  CHECK(column(temp / "metrics.csv", "accepted") == std::vector<std::string>{"2", "4", "6"});
  CHECK(column(temp / "metrics.csv", "dropped") == std::vector<std::string>{"0", "0", "0"});
  const std::vector<std::string> compute = column(temp / "metrics.csv", "compute_s");
  CHECK(std::stod(compute.at(0)) > 0);
  CHECK(std::stod(compute.at(2)) > std::stod(compute.at(0)));
  CHECK(column(temp / "metrics.csv", "sent_bytes") == std::vector<std::string>{"0", "0", "0"});
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
  CHECK(again.client->snapshot().value().global_step == 5);
  REQUIRE(list_checkpoints(temp.path()).size() == 1);
  CHECK(std::filesystem::last_write_time(list_checkpoints(temp.path()).at(0).path) == written);
}

TEST_CASE("a loss that is not finite ends the run with the code for divergence") {
  Run run(nullptr, 1e38);
  try {
    run.train(50);
    FAIL("it continued");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kDiverged);
  }
}

TEST_CASE("a model that a different worker has made NaN is never saved") {
  TempDir temp;
  const RunFolder folder(temp.path(), false);
  Run run(&folder);
  run.train(5);
  const std::vector<float> ruin(static_cast<std::size_t>(run.graph.num_parameters), std::nanf(""));
  NoSink ignore;
  run.exchange().begin_push(numbers_of(ruin), 5, 20);
  run.exchange().finish_push(ignore);
  try {
    run.supervisor->save_now();
    FAIL("it was saved");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kDiverged);
  }
  REQUIRE(list_checkpoints(temp.path()).size() == 1);
  CHECK(list_checkpoints(temp.path()).at(0).global_step == 5);
}

TEST_CASE("a model with finite parameters and infinite slots is never saved") {
  TempDir temp;
  const RunFolder folder(temp.path(), false);
  Run run(&folder);
  run.train(5);
  const std::vector<float> large(static_cast<std::size_t>(run.graph.num_parameters), 1e22f);
  NoSink ignore;
  run.exchange().begin_push(numbers_of(large), 5, 20);  // without push() the gradient is not checked
  run.exchange().finish_push(ignore);
  CHECK(all_finite(run.client->snapshot().value().parameters));
  CHECK(fails_with(ExitCode::kDiverged, "optimizer/v/pred/weights is not finite at global_step 6",
                   [&] { run.supervisor->save_now(); }));
  CHECK(fails_with(ExitCode::kDiverged, "optimizer/v/pred/weights", [&] { run.supervisor->save_if_due(1LL << 40); }));
  REQUIRE(list_checkpoints(temp.path()).size() == 1);
  CHECK(list_checkpoints(temp.path()).at(0).global_step == 5);
}

namespace {

// Replaces the third gradient and records the message with which the worker ends the run.
struct SpoilingClient : InProcessClient {
  using InProcessClient::InProcessClient;
  void begin_push(const Numbers& gradients, std::int64_t step, std::int64_t samples) override {
    ruin.assign(gradients.size(), NAN);
    InProcessClient::begin_push(++pushes == 3 ? numbers_of(ruin) : gradients, step, samples);
  }
  void fail_run(const std::string& why) override { words = why; }

  std::vector<float> ruin;
  int pushes = 0;
  std::string words;
};

struct SpoiledRun : Run {
  explicit SpoiledRun(OnNan on_nan, const RunFolder* folder = nullptr) {
    config.on_nan = on_nan;
    auto spoiling =
        std::make_unique<SpoilingClient>(variables_of(graph), default_optimizer(OptimizerKind::kAdam), on_nan);
    spoiler = spoiling.get();
    client = std::move(spoiling);
    SupervisorConfig supervision;
    if (folder != nullptr) supervision.log_dir = folder->path();
    supervision.identity = {"softmax", describe(graph), graph.variables, default_optimizer(OptimizerKind::kAdam)};
    supervisor = std::make_unique<Supervisor>(supervision, graph, *client, folder);
  }
  SpoilingClient* spoiler;
};

}  // namespace

TEST_CASE("a bad gradient ends the run and is reported to all tasks") {
  SpoiledRun run(OnNan::kFail);
  CHECK(fails_with(ExitCode::kDiverged, "a gradient has nan in pred/weights at global_step 2", [&] { run.train(5); }));
  CHECK(run.spoiler->words.starts_with("a gradient has nan in pred/weights at global_step 2"));
}

TEST_CASE("skip: a bad gradient is replaced by another batch, and is counted and reported only as skipped") {
  TempDir temp;
  const RunFolder folder(temp.path(), false);
  std::optional<BackgroundMetrics> metrics(temp / "metrics.csv");
  SpoiledRun run(OnNan::kSkip, &folder);
  run.metrics = &*metrics;
  run.config.log_every = 1;
  CHECK(run.train(5) == ExitCode::kOk);
  metrics.reset();
  CHECK(run.client->snapshot().value().global_step == 5);
  CHECK(run.client->snapshot().value().consumed_samples.at(0) == 6 * 20);
  CHECK(column(temp / "metrics.csv", "global_step") == std::vector<std::string>{"1", "2", "3", "4", "5"});
  CHECK(column(temp / "metrics.csv", "dropped").back() == "1");
}

TEST_CASE("skip: a model that is no longer finite ends the run eventually") {
  Run run(nullptr, 1e38);
  OptimizerSpec optimizer = default_optimizer(OptimizerKind::kAdam);
  optimizer.learning_rate = 1e38f;
  run.client = std::make_unique<InProcessClient>(variables_of(run.graph), optimizer, OnNan::kSkip);
  run.config.on_nan = OnNan::kSkip;
  SupervisorConfig supervision;
  supervision.identity = {"softmax", describe(run.graph), run.graph.variables, optimizer};
  run.supervisor = std::make_unique<Supervisor>(supervision, run.graph, *run.client, nullptr);
  CHECK(fails_with(ExitCode::kDiverged, "the 10th in a row", [&] { run.train(50); }));
}
