#include "tools/cluster_setup.h"

#include <fstream>

#include "lib/base/error.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace distmnist {
namespace {

Flags ps_flags() {
  Flags flags;
  flags.job_name = "ps";
  flags.ps_hosts = "127.0.0.1:2222,127.0.0.1:2223";
  return flags;
}

}  // namespace

TEST_CASE("a ps needs to know the workers unless it stays") {
  Flags flags = ps_flags();
  CHECK_THROWS_AS(find_place(flags), Error);
  flags.ps_stay = true;
  const auto place = find_place(flags);
  REQUIRE(place);
  CHECK(place->cluster.ps.size() == 2);
  CHECK(place->cluster.workers.empty());
}

TEST_CASE("a worker takes --ps_stay as the launcher passes it to all, and still needs the workers") {
  Flags flags = ps_flags();
  flags.ps_stay = true;
  flags.job_name = "worker";
  CHECK_THROWS_AS(find_place(flags), Error);
  flags.worker_hosts = "127.0.0.1:2224";
  CHECK(find_place(flags));
}

TEST_CASE("a file without workers describes ps tasks that stay") {
  const TempDir temp;
  const auto file = temp.path() / "c.json";
  std::ofstream(file) << R"({"ps": ["127.0.0.1:2222"]})";
  Flags flags;
  flags.job_name = "ps";
  flags.cluster = file.string();
  CHECK_THROWS_AS(find_place(flags), Error);
  CHECK(find_ps_tasks(flags).size() == 1);
  flags.ps_stay = true;
  CHECK(find_place(flags));
}

TEST_CASE("the ps tasks of a question come from the same flags as a task's") {
  Flags flags;
  CHECK(find_ps_tasks(flags) == std::vector<HostPort>{{"localhost", 2222}});
  flags.ps_hosts = "a:1,b:2";
  CHECK(find_ps_tasks(flags) == std::vector<HostPort>{{"a", 1}, {"b", 2}});
  flags.ps_hosts = "a:1,a:1";
  CHECK_THROWS_AS(find_ps_tasks(flags), Error);
  flags.ps_hosts = "";
  flags.worker_hosts = "a:1";
  CHECK_THROWS_AS(find_ps_tasks(flags), Error);
}

}  // namespace distmnist
