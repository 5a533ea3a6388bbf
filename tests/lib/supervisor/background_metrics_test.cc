#include "lib/supervisor/background_metrics.h"

#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "lib/base/clock.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace distmnist {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("rows are in the file, in order, when the object has ended") {
  const TempDir dir;
  const auto file = dir / "metrics.csv";
  {
    BackgroundMetrics metrics(file);
    for (int step = 1; step <= 50; ++step) metrics.append({.wall_time = 0, .global_step = step});
  }
  std::istringstream text(text_of(file));
  std::string line;
  REQUIRE(std::getline(text, line));
  CHECK(line + "\n" == MetricsWriter::kHeader);
  for (int step = 1; step <= 50; ++step) {
    REQUIRE(std::getline(text, line));
    CHECK(line.starts_with(fmt::format("0.000,{},", step)));
  }
  CHECK_FALSE(std::getline(text, line));
}

// A named pipe that nobody reads does not answer, like a dead disk.
TEST_CASE("a file that does not answer stops neither the rows nor the end") {
  const TempDir dir;
  const auto file = dir / "metrics.csv";
  REQUIRE(mkfifo(file.c_str(), 0600) == 0);
  const double began_s = monotonic_s();
  {
    BackgroundMetrics metrics(file);
    // Far more than a pipe holds.
    for (int step = 1; step <= 5000; ++step) metrics.append({.wall_time = 0, .global_step = step});
    CHECK(monotonic_s() - began_s < 30);
  }
  CHECK(monotonic_s() - began_s < 60);
}

}  // namespace distmnist
