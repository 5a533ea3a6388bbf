// Compares training that stays on the device with the loop via the host, which must give the same results.
#include "lib/worker/resident_loop.h"

#include <cmath>
#include <optional>

#include "lib/supervisor/saver.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/local_run.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

namespace {

struct ResidentRun : Run {
  explicit ResidentRun(const RunFolder* folder = nullptr, double learning_rate = 0.01)
      : Run(folder, learning_rate, OptimizerKind::kAdam, ParametersIn::kDevice) {}
};

// Counts the waits for the device and the steps of each call.
class Watched : public ResidentTraining {
 public:
  explicit Watched(ResidentTraining& training) : training_(training) {}
  bool keep_samples(const SampleBytes& samples) override { return training_.keep_samples(samples); }
  void start(const OptimizerSpec& optimizer, std::int64_t step,
             std::span<const std::span<const float>> slots) override {
    training_.start(optimizer, step, slots);
  }
  void run(const ResidentSteps& steps) override {
    step_ += std::ssize(steps.samples) / steps.batch_size;
    turns.push_back(std::ssize(steps.samples) / steps.batch_size);
    training_.run(steps);
  }
  StepResult last_step() override {
    waits.push_back(step_);
    return training_.last_step();
  }
  void read_slot(std::size_t slot, std::span<float> values) const override { training_.read_slot(slot, values); }

  std::vector<std::int64_t> turns;  // the steps of each call
  std::vector<std::int64_t> waits;  // the global_step of each wait

 private:
  ResidentTraining& training_;
  std::int64_t step_ = 0;
};

// An executor whose resident training is counted.
class WatchedExecutor : public Executor {
 public:
  explicit WatchedExecutor(std::unique_ptr<Executor> inner)
      : inner_(std::move(inner)), watched(*inner_->resident_training()) {}
  void load(Range range, std::span<const float> values) override { inner_->load(range, values); }
  void read(Range range, std::span<float> values) const override { inner_->read(range, values); }
  StepResult train_step(const Batch& batch, const GradientReady& ready) override {
    return inner_->train_step(batch, ready);
  }
  std::vector<std::string> kernels() override { return {}; }
  std::span<float> gradients() override { return inner_->gradients(); }
  void predict(std::int64_t count, std::span<const float> images, std::span<float> logits) override {
    inner_->predict(count, images, logits);
  }
  ResidentTraining* resident_training() override { return &watched; }

 private:
  std::unique_ptr<Executor> inner_;

 public:
  Watched watched;
};

std::vector<std::vector<std::string>> printed(const std::filesystem::path& file) {
  std::vector<std::vector<std::string>> columns;
  for (const char* name : {"global_step", "worker", "loss", "accuracy", "accepted", "dropped", "staleness_mean",
                           "push_s", "wait_s", "pull_s", "sent_bytes"}) {
    columns.push_back(column(file, name));
  }
  return columns;
}

}  // namespace

TEST_CASE("training on the device gives the same bits and log lines as training via the host") {
  for (const std::int64_t log_every : {1, 7, 10, 64}) {
    INFO("log_every " << log_every);
    TempDir temp;
    std::optional<BackgroundMetrics> host_metrics(temp / "host.csv"), device_metrics(temp / "device.csv");
    Run host;
    ResidentRun device;
    host.metrics = &*host_metrics;
    device.metrics = &*device_metrics;
    for (Run* run : {&host, static_cast<Run*>(&device)}) {
      run->config.log_every = log_every;
      CHECK(run->train(150) == ExitCode::kOk);
    }
    host_metrics.reset();  // their threads have written all rows
    device_metrics.reset();
    const StoredModel expected = host.client->snapshot().value(), actual = device.client->snapshot().value();
    CHECK(actual.global_step == 150);
    CHECK(actual.consumed_samples == expected.consumed_samples);
    CHECK(actual.parameters == expected.parameters);
    CHECK(actual.slots == expected.slots);
    CHECK(printed(temp / "device.csv") == printed(temp / "host.csv"));
    CHECK(column(temp / "device.csv", "global_step").size() ==
          static_cast<std::size_t>((150 + log_every - 1) / log_every));  // includes the line of the last step
  }
}

TEST_CASE("the host waits for the device only to print, at the start and at the end") {
  ResidentRun run;
  auto watched = std::make_unique<WatchedExecutor>(std::move(run.executor));
  Watched& watch = watched->watched;
  run.executor = std::move(watched);
  run.client = std::make_unique<ResidentClient>(*run.executor, run.graph.num_parameters,
                                                default_optimizer(OptimizerKind::kAdam));
  SupervisorConfig supervision;
  supervision.identity = {"softmax", describe(run.graph), run.graph.variables, default_optimizer(OptimizerKind::kAdam)};
  run.supervisor = std::make_unique<Supervisor>(supervision, run.graph, *run.client, nullptr);
  run.config.log_every = 40;
  run.train(130);
  CHECK(watch.waits == std::vector<std::int64_t>{1, 40, 80, 120, 130});
  CHECK(std::ranges::max(watch.turns) <= 40);
  CHECK(std::ssize(watch.turns) < 130);  // many steps in one call
}

TEST_CASE("a run on the device that is stopped and resumed gives the same bits as one that was not") {
  TempDir temp;
  {
    const RunFolder folder(temp.path(), false);
    ResidentRun run(&folder);
    run.train(13);
  }
  REQUIRE(list_checkpoints(temp.path()).size() == 1);
  const RunFolder folder(temp.path(), false);
  ResidentRun resumed(&folder), whole;
  resumed.train(45);
  whole.train(45);
  CHECK(resumed.client->snapshot().value().global_step == 45);
  CHECK(resumed.client->snapshot().value().consumed_samples == whole.client->snapshot().value().consumed_samples);
  CHECK(resumed.parameters() == whole.parameters());
}

TEST_CASE("a checkpoint of either way of training can be resumed by the other") {
  TempDir temp;
  {
    const RunFolder folder(temp.path(), false);
    ResidentRun run(&folder);
    run.train(13);
  }
  const RunFolder folder(temp.path(), false);
  Run resumed(&folder), whole;
  resumed.train(30);
  whole.train(30);
  CHECK(resumed.parameters() == whole.parameters());
}

TEST_CASE("the batch size follows its schedule on the device, too") {
  const auto schedule = BatchSizeSchedule::parse("0:20,5:40,38:10");
  Run host;
  ResidentRun device;
  for (Run* run : {&host, static_cast<Run*>(&device)}) {
    run->config.batch_sizes = schedule;
    run->config.log_every = 11;
    run->train(60);
  }
  CHECK(device.client->snapshot().value().consumed_samples.at(0) == 5 * 20 + 33 * 40 + 22 * 10);
  CHECK(device.parameters() == host.parameters());
}

TEST_CASE("a batch size that does not fit the data is refused on the device, too") {
  ResidentRun run;
  run.config.batch_sizes = BatchSizeSchedule(401);
  CHECK(fails_with(ExitCode::kUsage, "batch size 401", [&] { run.train(5); }));
}

TEST_CASE("a signal ends training on the device with its code, after saving") {
  TempDir temp;
  const RunFolder folder(temp.path(), false);
  ResidentRun run(&folder);
  CHECK(run.train(100, ExitCode::kTerminated) == ExitCode::kTerminated);
  CHECK(list_checkpoints(temp.path()).size() == 1);
}

TEST_CASE("checkpoints are saved while training stays on the device") {
  TempDir temp;
  const RunFolder folder(temp.path(), false);
  ResidentRun run(&folder);
  SupervisorConfig supervision;
  supervision.log_dir = folder.path();
  supervision.identity = {"softmax", describe(run.graph), run.graph.variables, default_optimizer(OptimizerKind::kAdam)};
  supervision.save_every_ms = 0;
  supervision.max_to_keep = 1000;
  run.supervisor = std::make_unique<Supervisor>(supervision, run.graph, *run.client, &folder);
  run.train(200);
  CHECK(list_checkpoints(temp.path()).size() > 1);
}

TEST_CASE("a loss on the device that is not finite ends the run with the code for divergence") {
  ResidentRun run(nullptr, 1e38);
  run.config.log_every = 10;
  CHECK(fails_with(ExitCode::kDiverged, "at global_step 10", [&] { run.train(50); }));
}
