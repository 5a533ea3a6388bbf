#include "lib/supervisor/background_saver.h"

#include <thread>

#include "tests/support/catch.h"
#include "tests/support/faults.h"
#include "tests/support/sample_snapshot.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

TEST_CASE("a submitted snapshot is on the disk after flush") {
  const TempDir dir;
  BackgroundSaver background(Saver(dir.path(), 0), {});
  CHECK_FALSE(background.flush().has_value());
  background.submit(sample_snapshot(10));
  CHECK_FALSE(background.flush().has_value());
  CHECK(is_sample_snapshot(read_newest_checkpoint(dir.path())->snapshot, 10));
  CHECK(background.status().saves == 1);
  CHECK(background.status().last_step == 10);
}

TEST_CASE("a submitted snapshot is on the disk after the destructor") {
  const TempDir dir;
  {
    BackgroundSaver background(Saver(dir.path(), 0), {});
    background.submit(sample_snapshot(10));
  }
  CHECK(is_sample_snapshot(read_newest_checkpoint(dir.path())->snapshot, 10));
}

TEST_CASE("snapshots that arrive faster than the disk writes replace each other, and the newest is saved") {
  const TempDir dir;
  BackgroundSaver background(Saver(dir.path(), 0), {});
  constexpr std::int64_t kSnapshots = 300;
  for (std::int64_t step = 1; step <= kSnapshots; ++step) background.submit(sample_snapshot(step));
  CHECK_FALSE(background.flush().has_value());
  const auto status = background.status();
  CHECK(status.saves + status.replaced == kSnapshots);
  CHECK(status.last_step == kSnapshots);
  CHECK(list_checkpoints(dir.path()).size() == static_cast<std::size_t>(status.saves));
}

TEST_CASE("a failed save is reported, keeps the old checkpoint and does not stop the next") {
  const TempDir dir;
  BackgroundSaver background(Saver(dir.path(), 1), {});
  background.submit(sample_snapshot(10));
  CHECK_FALSE(background.flush().has_value());
  {
    const FileSizeLimit limit(1000);
    background.submit(sample_snapshot(20));
    const auto error = background.flush();
    REQUIRE(error.has_value());
    CHECK(error->code() == ExitCode::kResources);
  }
  CHECK(background.status().failures == 1);
  CHECK(background.status().last_step == 10);
  CHECK(read_newest_checkpoint(dir.path())->snapshot.global_step == 10);

  background.submit(sample_snapshot(30));
  CHECK_FALSE(background.flush().has_value());
  CHECK_FALSE(background.status().last_error.has_value());
  CHECK(background.status().failures == 1);
  CHECK(read_newest_checkpoint(dir.path())->snapshot.global_step == 30);
}

TEST_CASE("several threads can submit and flush at the same time") {
  const TempDir dir;
  BackgroundSaver background(Saver(dir.path(), 2), {});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&background, t] {
      for (int i = 0; i < 20; ++i) {
        background.submit(sample_snapshot(100 * t + i));
        if (i % 7 == 0) background.flush();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK_FALSE(background.flush().has_value());
  const auto status = background.status();
  CHECK(status.saves + status.replaced == 80);
}

TEST_CASE("what was saved last is read back, and a file that has changed since is an error") {
  const TempDir dir;
  BackgroundSaver background(Saver(dir.path(), 0), {});
  CHECK_FALSE(background.read_back());
  background.submit(sample_snapshot(10));
  CHECK_FALSE(background.flush());
  CHECK_FALSE(background.read_back());
  std::filesystem::resize_file(dir / checkpoint_name(10), 500);
  const auto error = background.read_back();
  REQUIRE(error);
  CHECK(error->code() == ExitCode::kData);
}

namespace {

// A disk that never answers: work is posted and never done.
struct DeadDisk : WorkQueue {
  void post(std::function<void()>) override {}
  bool finish(TimeMs limit_ms) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(limit_ms));
    return false;
  }
};

}  // namespace

TEST_CASE("a disk that does not answer is named, and given up after the recovery time") {
  const TempDir dir;
  const WaitLimits limits{.recovery_wait_ms = 500, .disk_ms = 200};
  BackgroundSaver background(Saver(dir.path(), 0), limits, {}, std::make_unique<DeadDisk>());
  background.submit(sample_snapshot(10));
  const auto error = background.flush();
  REQUIRE(error);
  CHECK(error->code() == ExitCode::kLostPeer);
  const std::string text = error->what();
  CHECK(text.find("the disk of " + dir.path().string() + " has not answered for 0.") == 0);
  CHECK(text.find("the last checkpoint is not saved") != text.npos);
  CHECK_THROWS_AS(background.restore_newest(sample_snapshot(10).identity), Error);
}

TEST_CASE("after a stop is requested, a disk is given up after disk_ms") {
  const TempDir dir;
  const WaitLimits limits{.recovery_wait_ms = 600'000, .disk_ms = 200};
  BackgroundSaver background(
      Saver(dir.path(), 0), limits, [] { return true; }, std::make_unique<DeadDisk>());
  background.submit(sample_snapshot(10));
  const auto error = background.flush();
  REQUIRE(error);
  CHECK(error->code() == ExitCode::kLostPeer);
}
