#include "lib/supervisor/inspect.h"

#include <array>
#include <cmath>
#include <fstream>

#include "lib/supervisor/checkpoint.h"
#include "lib/supervisor/safetensors.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/sample_snapshot.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

namespace {

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

bool has_line(const Inspection& inspection, const std::string& line) {
  INFO(joined(inspection.lines));
  const bool found = joined(inspection.lines).find(line + "\n") != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("a checkpoint is described with its metadata and its tensors") {
  const TempDir dir;
  write_checkpoint(dir / "f", sample_snapshot(10));
  const Inspection inspection = inspect_checkpoint(dir / "f");
  CHECK_FALSE(inspection.damage.has_value());
  CHECK(has_line(inspection, "checksums: correct"));
  CHECK(inspection.lines[2] == "global_step: 10");
  CHECK(has_line(inspection, "model: tiny"));
  CHECK(has_line(inspection, "optimizer: adam"));
  CHECK(has_line(inspection, "consumed_samples: 0:5 2:5"));
  CHECK(has_line(inspection, "config:\n  batch_size = 50"));
  CHECK(has_line(inspection, "tensors: 12"));
  CHECK(has_line(inspection,
                 "  pred/weights              F32 [2, 3]                  24 bytes  min 13.75 max 15 mean 14.375"));
}

TEST_CASE("the optimizer is described with its constants, its schedule and its slots") {
  const TempDir dir;
  ModelIdentity identity = sample_identity();
  identity.optimizer = default_optimizer(OptimizerKind::kRmsprop);
  identity.optimizer.learning_rate.schedule = LearningRateSchedule::kCosine;
  identity.optimizer.learning_rate.decay_steps = 700;
  write_checkpoint(dir / "f", sample_snapshot(10, identity));
  const Inspection inspection = inspect_checkpoint(dir / "f");
  CHECK(has_line(inspection, "optimizer: rmsprop"));
  CHECK(has_line(inspection, "decay: 0.9"));
  CHECK(has_line(inspection, "learning_rate_schedule: cosine"));
  CHECK(has_line(inspection, "decay_steps: 700"));
  CHECK(joined(inspection.lines).find("  optimizer/rms/pred/weights       F32 [2, 3] ") != std::string::npos);
  CHECK(joined(inspection.lines).find("  optimizer/momentum/pred/weights  F32 [2, 3] ") != std::string::npos);
}

TEST_CASE("values that are not finite are counted and excluded from the statistics") {
  const TempDir dir;
  const std::array<float, 4> values = {1, NAN, 3, INFINITY}, none = {NAN, NAN, NAN, NAN};
  write_safetensors(dir / "f", {}, std::array<NamedTensor, 3>{{{"a", {4}, values}, {"b", {4}, none}, {"c", {0}, {}}}});
  const Inspection inspection = inspect_checkpoint(dir / "f");
  CHECK(has_line(inspection, "  a  F32 [4]                     16 bytes  min 1 max 3 mean 2  2 not finite"));
  CHECK(has_line(inspection, "  b  F32 [4]                     16 bytes  4 not finite"));
  CHECK(has_line(inspection, "  c  F32 [0]                      0 bytes"));
}

TEST_CASE("a damaged checkpoint is described and reported as damaged") {
  const TempDir dir;
  write_checkpoint(dir / "f", sample_snapshot(10));
  {
    std::fstream file(dir / "f", std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(-1, std::ios::end);
    file.put('x');
  }
  const Inspection inspection = inspect_checkpoint(dir / "f");
  REQUIRE(inspection.damage.has_value());
  CHECK(inspection.damage->find("damaged: the data") != std::string::npos);
  CHECK(has_line(inspection, "checksums: DAMAGED"));
  CHECK(has_line(inspection, "tensors: 12"));
}

TEST_CASE("a file of a different program is described without control characters") {
  const TempDir dir;
  const std::string header =
      R"({"__metadata__":{"k":"\u001b[2J"},"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})";
  std::ofstream(dir / "f", std::ios::binary)
      << static_cast<char>(header.size()) << std::string(7, '\0') << header << "abcd";
  const Inspection inspection = inspect_checkpoint(dir / "f");
  CHECK_FALSE(inspection.damage.has_value());
  CHECK(has_line(inspection, "checksums: none (written by another program)"));
  CHECK(has_line(inspection, "k: ?[2J"));
  CHECK(has_line(inspection, "  h  F16 [2]                      4 bytes"));
}

TEST_CASE("a file that is not in safetensors format is refused") {
  const TempDir dir;
  std::ofstream(dir / "f") << "hello";
  CHECK(fails_with(ExitCode::kData, "5 bytes, but a safetensors file begins with 8",
                   [&] { inspect_checkpoint(dir / "f"); }));
  CHECK(fails_with(ExitCode::kData, "cannot read", [&] { inspect_checkpoint(dir / "missing"); }));
}

TEST_CASE("a checkpoint is verified part by part, and a damaged one is refused") {
  const TempDir dir;
  write_checkpoint(dir / "f", sample_snapshot(10));
  const std::vector<std::string> lines = verify_checkpoint(dir / "f");
  CHECK(lines.back() == "valid");
  CHECK(joined(lines).find("slots: 8 of optimizer adam, all numbers finite\n") != std::string::npos);
  CHECK(joined(lines).find("samples: worker:0 5, worker:2 5\n") != std::string::npos);
  std::fstream file(dir / "f", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\x7f');
  file.close();
  CHECK(fails_with(ExitCode::kData, "damaged", [&] { verify_checkpoint(dir / "f"); }));
}

TEST_CASE("a checkpoint whose checksums have other names is damaged, not that of another program") {
  const TempDir dir;
  write_checkpoint(dir / "f", sample_snapshot(10));
  std::fstream file(dir / "f", std::ios::in | std::ios::out | std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  file.seekp(static_cast<std::streamoff>(bytes.find("crc32c_data")));
  file.put('C');
  file.close();
  CHECK(inspect_checkpoint(dir / "f").damage.has_value());
}
