#include "lib/supervisor/metrics_writer.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "tests/support/catch.h"
#include "tests/support/faults.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

namespace {

const std::string kHeader(MetricsWriter::kHeader);

MetricsRow row(std::int64_t step) {
  return {.wall_time = 1763650000.25,
          .global_step = step,
          .worker = 1,
          .loss = 0.5,
          .accuracy = 0.98,
          .steps_per_second = 200,
          .accepted = 50,
          .dropped = 2,
          .staleness_mean = 1.5,
          .staleness_max = 7,
          .compute_s = 1.25,
          .push_s = 0.0625,
          .wait_s = 0.5,
          .pull_s = 0.03125,
          .sent_bytes = 325'000'000,
          .received_bytes = 326'000'000};
}
std::string line(std::int64_t step) {
  return fmt::format(
      "1763650000.250,{},1,0.5,0.9800,200.00,50,2,1.50,7,1.250000,0.062500,0.500000,0.031250,325000000,326000000\n",
      step);
}

std::string content(const std::filesystem::path& path) {
  return read_text_file(path, 1'000'000);
}

}  // namespace

TEST_CASE("rows follow one header and are in the file at once") {
  const TempDir dir;
  MetricsWriter writer(dir / "metrics.csv");
  writer.append(row(100));
  CHECK(content(dir / "metrics.csv") == kHeader + line(100));
  writer.append(row(200));
  CHECK(content(dir / "metrics.csv") == kHeader + line(100) + line(200));
  CHECK(writer.lost_rows() == 0);
}

TEST_CASE("a row has a value for every column") {
  const std::string header(MetricsWriter::kHeader);
  CHECK(std::ranges::count(header, ',') == std::ranges::count(line(100), ','));
}

TEST_CASE("a file with the columns of the first version is moved aside") {
  const TempDir dir;
  const std::string old = "wall_time,global_step,worker,loss,accuracy,steps_per_second\n";
  std::ofstream(dir / "metrics.csv") << old;
  MetricsWriter(dir / "metrics.csv").append(row(100));
  CHECK(content(dir / "metrics.old-1.csv") == old);
  CHECK(content(dir / "metrics.csv") == kHeader + line(100));
}

TEST_CASE("a resumed run continues the file without a second header") {
  const TempDir dir;
  MetricsWriter(dir / "metrics.csv").append(row(100));
  MetricsWriter(dir / "metrics.csv").append(row(200));
  CHECK(content(dir / "metrics.csv") == kHeader + line(100) + line(200));
}

TEST_CASE("an incomplete row of a process that died is removed") {
  const TempDir dir;
  std::ofstream(dir / "metrics.csv") << kHeader << line(100) << "17636500";
  MetricsWriter(dir / "metrics.csv").append(row(200));
  CHECK(content(dir / "metrics.csv") == kHeader + line(100) + line(200));
  std::ofstream(dir / "metrics.csv") << kHeader.substr(0, 10);
  MetricsWriter(dir / "metrics.csv").append(row(200));
  CHECK(content(dir / "metrics.csv") == kHeader + line(200));
}

TEST_CASE("a file with other columns is moved aside as a whole") {
  const TempDir dir;
  for (int i = 1; i <= 2; ++i) {
    std::ofstream(dir / "metrics.csv") << "step,loss\n1,0.5\n2,0." << i;
    MetricsWriter(dir / "metrics.csv").append(row(100));
    CHECK(content(dir / fmt::format("metrics.old-{}.csv", i)) == fmt::format("step,loss\n1,0.5\n2,0.{}", i));
    CHECK(content(dir / "metrics.csv") == kHeader + line(100));
  }
}

TEST_CASE("numbers that are not finite are written as words") {
  const TempDir dir;
  MetricsWriter writer(dir / "metrics.csv");
  writer.append(
      {.wall_time = 1, .global_step = 5, .worker = 0, .loss = NAN, .accuracy = 0, .steps_per_second = INFINITY});
  CHECK(content(dir / "metrics.csv") ==
        kHeader + "1.000,5,0,nan,0.0000,inf,0,0,0.00,0,0.000000,0.000000,0.000000,0.000000,0,0\n");
}

TEST_CASE("a full disk loses whole rows only, throws nothing, and later rows are written") {
  const TempDir dir;
  MetricsWriter writer(dir / "metrics.csv");
  writer.append(row(100));
  {
    const FileSizeLimit limit(kHeader.size() + line(100).size() + 10);  // room for a part of the next row
    writer.append(row(200));
    writer.append(row(300));
    CHECK(content(dir / "metrics.csv") == kHeader + line(100));
  }
  CHECK(writer.lost_rows() == 2);
  writer.append(row(400));
  CHECK(content(dir / "metrics.csv") == kHeader + line(100) + line(400));
}

TEST_CASE("a device without space and a missing folder lose rows only") {
  MetricsWriter full("/dev/full");
  full.append(row(100));
  full.append(row(200));
  CHECK(full.lost_rows() == 2);
  const TempDir dir;
  MetricsWriter missing(dir / "missing/metrics.csv");
  missing.append(row(100));
  CHECK(missing.lost_rows() == 1);
}
