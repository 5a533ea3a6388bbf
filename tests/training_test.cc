#include "lib/worker/training.h"

#include <cmath>
#include <filesystem>

#include "lib/supervisor/saver.h"
#include "tests/support/catch.h"
#include "tests/support/local_run.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

TEST_CASE("training reaches its steps exactly and changes the parameters for the better") {
  Run run;
  CHECK(run.train(150) == ExitCode::kOk);
  CHECK(run.client->snapshot().global_step == 150);
  CHECK(run.client->snapshot().consumed_samples.at(0) == 150 * 20);
}

TEST_CASE("the slots of a new model have their optimizer's start values") {
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdagrad, OptimizerKind::kRmsprop}) {
    Run run(nullptr, 0.01, kind);
    run.supervisor->prepare();
    const StoredModel model = run.client->snapshot();
    const std::vector<float> starts = slot_start_values(kind);
    REQUIRE(model.slots.size() == starts.size());
    for (std::size_t slot = 0; slot < starts.size(); ++slot) {
      CHECK(model.slots[slot] == std::vector<float>(model.parameters.size(), starts[slot]));
    }
  }
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
  CHECK(resumed.client->snapshot().global_step == 25);
  CHECK(resumed.parameters() == whole.parameters());
}

TEST_CASE("augmented training is repeatable, also over a stop and a resume, and differs from plain training") {
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

TEST_CASE("the batch size follows its schedule, and a resumed run enters it where the old one stopped") {
  TempDir temp;
  const auto schedule = BatchSizeSchedule::parse("0:20,5:40,8:10");
  {
    const RunFolder folder(temp.path(), false);
    Run run(&folder);
    run.config.batch_sizes = schedule;
    run.train(6);
    CHECK(run.client->snapshot().consumed_samples.at(0) == 5 * 20 + 40);
  }
  const RunFolder folder(temp.path(), false);
  Run resumed(&folder), whole, constant;
  resumed.config.batch_sizes = whole.config.batch_sizes = schedule;
  for (Run* run : {&resumed, &whole, &constant}) run->train(12);
  CHECK(whole.client->snapshot().consumed_samples.at(0) == 5 * 20 + 3 * 40 + 4 * 10);
  CHECK(resumed.client->snapshot().consumed_samples.at(0) == whole.client->snapshot().consumed_samples.at(0));
  CHECK(resumed.parameters() == whole.parameters());
  CHECK(constant.parameters() != whole.parameters());
}

TEST_CASE("the accuracy of a batch is of its own size, whatever the schedule") {
  TempDir temp;
  MetricsWriter metrics(temp / "metrics.csv");
  Run run;
  const std::vector<std::uint8_t> same(400, 3);  // One label for all images: soon every answer is right.
  run.data.train.labels = same;
  run.config.batch_sizes = BatchSizeSchedule::parse("0:20,50:40,52:10");
  run.config.log_every = 1;
  run.metrics = &metrics;
  run.train(54);
  const std::vector<std::string> accuracies = column(temp / "metrics.csv", "accuracy");
  REQUIRE(accuracies.size() == 54);
  for (std::size_t step = 49; step < 54; ++step) CHECK(accuracies[step] == "1.0000");
}

TEST_CASE("metrics count the pushes and the time of the steps so far") {
  TempDir temp;
  MetricsWriter metrics(temp / "metrics.csv");
  Run run;
  run.config.log_every = 2;
  run.metrics = &metrics;
  run.train(6);
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
  CHECK(again.client->snapshot().global_step == 5);
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
  run.client->begin_push(ruin, 5, 20);
  run.client->finish_push(ignore);
  try {
    run.supervisor->save_now();
    FAIL("it was saved");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kDiverged);
  }
  REQUIRE(list_checkpoints(temp.path()).size() == 1);
  CHECK(list_checkpoints(temp.path()).at(0).global_step == 5);
}
