#include "lib/supervisor/saver.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <limits>
#include <thread>

#include "lib/base/file.h"
#include "lib/base/random.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/faults.h"
#include "tests/support/sample_snapshot.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

namespace {

std::vector<std::int64_t> steps_in(const std::filesystem::path& folder) {
  std::vector<std::int64_t> steps;
  for (const auto& file : list_checkpoints(folder)) steps.push_back(file.global_step);
  return steps;
}

void flip_a_byte(const std::filesystem::path& path, std::int64_t offset_from_end) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(-offset_from_end, std::ios::end);
  const char byte = static_cast<char>(file.get());
  file.seekp(-offset_from_end, std::ios::end);
  file.put(static_cast<char>(byte ^ 0x10));
}

std::vector<std::filesystem::path> names_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
  return names;
}

}  // namespace

TEST_CASE("the newest checkpoint is restored, and only the newest few are kept") {
  const TempDir dir;
  Saver saver(dir.path(), 3);
  CHECK_FALSE(saver.restore_newest(sample_identity()).has_value());
  for (const std::int64_t step : {8, 9, 10, 100}) {
    CHECK(saver.save(sample_snapshot(step)) == dir / fmt::format("model.ckpt-{}.safetensors", step));
  }
  CHECK(steps_in(dir.path()) == std::vector<std::int64_t>{100, 10, 9});
  const auto restored = saver.restore_newest(sample_identity());
  REQUIRE(restored.has_value());
  CHECK(is_sample_snapshot(*restored, 100));
  CHECK(read_text_file(dir / "checkpoint", 1000) ==
        "model_checkpoint_path: \"model.ckpt-100.safetensors\"\n"
        "all_model_checkpoint_paths: \"model.ckpt-9.safetensors\"\n"
        "all_model_checkpoint_paths: \"model.ckpt-10.safetensors\"\n"
        "all_model_checkpoint_paths: \"model.ckpt-100.safetensors\"\n");
}

TEST_CASE("max_to_keep 0 keeps all, 1 keeps one, and less is refused") {
  const TempDir dir;
  Saver all(dir.path(), 0);
  for (std::int64_t step = 1; step <= 8; ++step) all.save(sample_snapshot(step));
  CHECK(steps_in(dir.path()).size() == 8);
  Saver one(dir.path(), 1);
  one.save(sample_snapshot(9));
  CHECK(steps_in(dir.path()) == std::vector<std::int64_t>{9});
  CHECK(fails_with(ExitCode::kUsage, "--max_to_keep=-1", [&] { Saver(dir.path(), -1); }));
}

TEST_CASE("the newest checkpoint is chosen by step, not by file time or the text file") {
  const TempDir dir;
  Saver saver(dir.path(), 5);
  saver.save(sample_snapshot(20));
  saver.save(sample_snapshot(3));
  write_text_file(dir / "checkpoint", "model_checkpoint_path: \"model.ckpt-3.safetensors\"\n");
  CHECK(saver.restore_newest(sample_identity())->global_step == 20);
  std::filesystem::remove(dir / "checkpoint");
  CHECK(saver.restore_newest(sample_identity())->global_step == 20);
}

TEST_CASE("a broken newest checkpoint is skipped and the next older one is used") {
  const TempDir dir;
  Saver saver(dir.path(), 5);
  for (const std::int64_t step : {10, 20, 30, 40}) saver.save(sample_snapshot(step));
  flip_a_byte(dir / "model.ckpt-40.safetensors", 3);
  std::filesystem::resize_file(dir / "model.ckpt-30.safetensors", 500);
  const auto restored = read_newest_checkpoint(dir.path());
  REQUIRE(restored.has_value());
  CHECK(is_sample_snapshot(restored->snapshot, 20));
  CHECK(restored->path == dir / "model.ckpt-20.safetensors");
  CHECK(restored->broken ==
        std::vector<std::filesystem::path>{dir / "model.ckpt-40.safetensors", dir / "model.ckpt-30.safetensors"});
}

TEST_CASE("a checkpoint whose name has a different step is broken") {
  const TempDir dir;
  Saver saver(dir.path(), 5);
  saver.save(sample_snapshot(10));
  std::filesystem::copy_file(dir / "model.ckpt-10.safetensors", dir / "model.ckpt-99.safetensors");
  CHECK(saver.restore_newest(sample_identity())->global_step == 10);
}

TEST_CASE("files that only look like checkpoints are ignored") {
  const TempDir dir;
  for (const char* name : {"model.ckpt-.safetensors", "model.ckpt-1x.safetensors", "model.ckpt-007.safetensors",
                           "model.ckpt--5.safetensors", "model.ckpt-5.safetensors.bak", "model.ckpt-5",
                           "model.ckpt-99999999999999999999.safetensors"}) {
    std::ofstream(dir / name) << "x";
  }
  CHECK(list_checkpoints(dir.path()).empty());
  CHECK_FALSE(read_newest_checkpoint(dir.path()).has_value());
  CHECK_FALSE(read_newest_checkpoint(dir / "missing").has_value());
}

TEST_CASE("a run can be given by its folder or by one of its checkpoints, under any name") {
  const TempDir dir;
  Saver saver(dir.path(), 5);
  for (const std::int64_t step : {10, 20}) saver.save(sample_snapshot(step));
  CHECK(read_named_run(dir.path()).snapshot.global_step == 20);
  CHECK(read_named_run(dir / checkpoint_name(10)).snapshot.global_step == 10);
  std::filesystem::rename(dir / checkpoint_name(10), dir / "best");
  CHECK(read_named_run(dir / "best").path == dir / "best");
}

TEST_CASE("if there is no run the error lists what is there") {
  const TempDir dir;
  const auto says = [&](const std::filesystem::path& path, const std::string& text) {
    return fails_with(ExitCode::kData, path.string() + " has no checkpoint (model.ckpt-*.safetensors): " + text,
                      [&] { read_named_run(path); });
  };
  CHECK(says(dir / "absent", "there is no such folder"));
  CHECK(says(dir.path(), "give the run folder of worker 0"));
  std::filesystem::create_directory(dir / "run");
  Saver(dir / "run", 5).save(sample_snapshot(10));
  CHECK(says(dir.path(), "there are checkpoints in " + (dir / "run").string()));
}

TEST_CASE("a folder that cannot be read is not treated as one without checkpoints") {
  const TempDir dir;
  std::filesystem::create_directories(dir / "shut" / "run");
  const ClosedFolder closed(dir / "shut", dir.path());
  REQUIRE(closed.works());
  for (const auto& path : {dir / "shut", dir / "shut" / "run", dir / "shut" / "run" / "file"}) {
    const std::string says = "cannot look into " + (dir / "shut").string() + ": Permission denied";
    CHECK(fails_with(ExitCode::kData, says, [&] { read_named_run(path); }));
    CHECK(fails_with(ExitCode::kData, says, [&] { read_newest_checkpoint(path); }));
  }
}

TEST_CASE("a folder that can be entered but not listed is not treated as one without checkpoints") {
  const TempDir dir;
  std::filesystem::create_directory(dir / "shut");
  std::filesystem::create_directory(dir / "run");
  using std::filesystem::perms;
  std::filesystem::permissions(dir / "run", perms::owner_exec | perms::group_exec | perms::others_exec);
  {
    const ClosedFolder closed(dir / "shut", dir.path());  // root switches to an ordinary user here
    REQUIRE(closed.works());
    CHECK(fails_with(ExitCode::kData, "cannot look into " + (dir / "run").string() + ": Permission denied",
                     [&] { read_newest_checkpoint(dir / "run"); }));
  }
  std::filesystem::permissions(dir / "run", perms::owner_all);
}

TEST_CASE("if every checkpoint is broken, restoring is an error") {
  const TempDir dir;
  Saver saver(dir.path(), 5);
  for (const std::int64_t step : {10, 20}) {
    saver.save(sample_snapshot(step));
    flip_a_byte(dir / checkpoint_name(step), 100);
  }
  CHECK(fails_with(ExitCode::kData, "2 checkpoints in ", [&] { saver.restore_newest(sample_identity()); }));
  std::filesystem::remove(dir / checkpoint_name(10));
  std::filesystem::remove(dir / checkpoint_name(20));
  std::filesystem::create_directory(dir / checkpoint_name(30));
  CHECK(fails_with(ExitCode::kData, "1 checkpoint in ", [&] { saver.restore_newest(sample_identity()); }));
}

TEST_CASE("a model or optimizer different from the flags' is refused, and no older file is used instead") {
  const TempDir dir;
  Saver saver(dir.path(), 5);
  saver.save(sample_snapshot(10));
  ModelIdentity other = sample_identity();
  other.model = "mlp";
  CHECK(fails_with(ExitCode::kVersion, "the flags ask for mlp", [&] { saver.restore_newest(other); }));
  other = sample_identity();
  other.optimizer.kind = OptimizerKind::kMomentum;
  saver.save(sample_snapshot(20, other));
  CHECK(fails_with(ExitCode::kVersion, "the optimizer momentum, but the flags ask for adam",
                   [&] { saver.restore_newest(sample_identity()); }));
}

TEST_CASE("saving after a broken checkpoint never deletes the newest valid one") {
  const TempDir dir;
  {
    Saver saver(dir.path(), 5);
    for (const std::int64_t step : {10, 20, 30}) saver.save(sample_snapshot(step));
  }
  flip_a_byte(dir / checkpoint_name(30), 3);
  Saver saver(dir.path(), 1);
  REQUIRE(saver.restore_newest(sample_identity())->global_step == 20);
  saver.save(sample_snapshot(25));
  CHECK(steps_in(dir.path()) == std::vector<std::int64_t>{30, 25});
  CHECK(saver.restore_newest(sample_identity())->global_step == 25);
  saver.save(sample_snapshot(30));
  CHECK(steps_in(dir.path()) == std::vector<std::int64_t>{30});
  CHECK(is_sample_snapshot(*saver.restore_newest(sample_identity()), 30));
}

TEST_CASE("a broken checkpoint does not take the place of a valid one among those kept") {
  const TempDir dir;
  Saver saver(dir.path(), 2);
  saver.save(sample_snapshot(10));
  saver.save(sample_snapshot(20));
  flip_a_byte(dir / checkpoint_name(20), 3);
  REQUIRE(saver.restore_newest(sample_identity())->global_step == 10);
  saver.save(sample_snapshot(30));
  CHECK(steps_in(dir.path()) == std::vector<std::int64_t>{30, 20, 10});
  saver.save(sample_snapshot(40));
  CHECK(steps_in(dir.path()) == std::vector<std::int64_t>{40, 30});
}

TEST_CASE("a full disk while saving keeps the old checkpoints and leaves no temporary file") {
  const TempDir dir;
  Saver saver(dir.path(), 1);
  saver.save(sample_snapshot(10));
  const auto before = names_in(dir.path()).size();
  {
    const FileSizeLimit limit(1000);
    CHECK(fails_with(ExitCode::kResources, checkpoint_name(20), [&] { saver.save(sample_snapshot(20)); }));
  }
  CHECK(names_in(dir.path()).size() == before);
  CHECK(is_sample_snapshot(*saver.restore_newest(sample_identity()), 10));
  saver.save(sample_snapshot(30));
  CHECK(steps_in(dir.path()) == std::vector<std::int64_t>{30});
}

TEST_CASE("an error with the text file does not fail a save") {
  const TempDir dir;
  std::filesystem::create_directory(dir / "checkpoint");
  Saver saver(dir.path(), 5);
  saver.save(sample_snapshot(10));
  CHECK(is_sample_snapshot(*saver.restore_newest(sample_identity()), 10));
}

TEST_CASE("a saver that is killed at any moment leaves what it acknowledged, and no partial file counts") {
  const TempDir dir;
  Random random(5, 0);
  std::int64_t first_step = 1;
  for (int round = 0; round < 25; ++round) {
    int acknowledged[2];
    REQUIRE(pipe(acknowledged) == 0);
    const pid_t child = fork();
    if (child == 0) {
      Saver saver(dir.path(), 3);
      for (std::int64_t step = first_step;; ++step) {
        saver.save(sample_snapshot(step));
        if (write(acknowledged[1], &step, sizeof(step)) < 0) _exit(1);
      }
    }
    close(acknowledged[1]);
    std::int64_t last_step = 0, step = 0;
    // Waits for the first save, so that each round makes progress; after that the moment is random.
    if (read(acknowledged[0], &step, sizeof(step)) == sizeof(step)) last_step = step;
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(20'000)));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    while (read(acknowledged[0], &step, sizeof(step)) == sizeof(step)) last_step = step;
    close(acknowledged[0]);

    const auto restored = read_newest_checkpoint(dir.path());
    REQUIRE(restored.has_value());
    REQUIRE(restored->broken.empty());
    REQUIRE(restored->snapshot.global_step >= last_step);
    REQUIRE(is_sample_snapshot(restored->snapshot, restored->snapshot.global_step));
    first_step = restored->snapshot.global_step + 1;
  }
  Saver saver(dir.path(), 3);
  saver.save(sample_snapshot(first_step));
  CHECK(names_in(dir.path()).size() == 4);  // three checkpoints and the text file, but no temporary file
}

TEST_CASE("a checkpoint with a number that is not finite is named and refused, and the next older one is used") {
  const TempDir dir;
  Saver saver(dir.path(), 5);
  saver.save(sample_snapshot(10));
  ModelSnapshot slots = sample_snapshot(20);
  slots.slots[1][13] = std::numeric_limits<float>::infinity();
  saver.save(slots);
  ModelSnapshot parameters = sample_snapshot(30);
  parameters.parameters[22] = std::numeric_limits<float>::quiet_NaN();
  saver.save(parameters);
  const auto restored = read_newest_checkpoint(dir.path());
  REQUIRE(restored.has_value());
  CHECK(is_sample_snapshot(restored->snapshot, 10));
  CHECK(restored->broken.size() == 2);
  const auto named = [&](int step, const std::string& tensor) {
    return fails_with(ExitCode::kData, "tensor \"" + tensor + "\" has a number that is not finite",
                      [&] { read_named_run(dir / fmt::format("model.ckpt-{}.safetensors", step)); });
  };
  CHECK(named(20, "optimizer/v/fc1/biases"));
  CHECK(named(30, "pred/biases"));
  std::filesystem::remove(dir / "model.ckpt-10.safetensors");
  CHECK(fails_with(ExitCode::kData, "none is valid", [&] { saver.restore_newest(sample_identity()); }));
}
