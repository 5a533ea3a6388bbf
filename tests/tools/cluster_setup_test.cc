#include "tools/cluster_setup.h"

#include <fstream>

#include "lib/base/error.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace distmnist {
namespace {

Flags ps_flags() {
  Flags flags;
  flags.cluster.job_name = "ps";
  flags.cluster.ps_hosts = "127.0.0.1:2222,127.0.0.1:2223";
  return flags;
}

}  // namespace

TEST_CASE("a ps needs to know the workers unless it stays") {
  Flags flags = ps_flags();
  CHECK_THROWS_AS(find_place(flags), Error);
  flags.cluster.ps_stay = true;
  const auto place = find_place(flags);
  REQUIRE(place);
  CHECK(place->cluster.ps.size() == 2);
  CHECK(place->cluster.workers.empty());
}

TEST_CASE("a worker accepts --ps_stay, because the launcher passes it to all tasks, and still needs the workers") {
  Flags flags = ps_flags();
  flags.cluster.ps_stay = true;
  flags.cluster.job_name = "worker";
  CHECK_THROWS_AS(find_place(flags), Error);
  flags.cluster.worker_hosts = "127.0.0.1:2224";
  CHECK(find_place(flags));
}

TEST_CASE("a file without workers describes ps tasks that stay") {
  const TempDir temp;
  const auto file = temp.path() / "c.json";
  std::ofstream(file) << R"({"ps": ["127.0.0.1:2222"]})";
  Flags flags;
  flags.cluster.job_name = "ps";
  flags.cluster.file = file.string();
  CHECK_THROWS_AS(find_place(flags), Error);
  CHECK(find_ps_tasks(flags).size() == 1);
  flags.cluster.ps_stay = true;
  CHECK(find_place(flags));
}

TEST_CASE("a task of a cluster file with gaps needs the tasks that it connects to") {
  const TempDir temp;
  const auto file = temp.path() / "c.json";
  std::ofstream(file) << R"({"ps": {"0": "127.0.0.1:2222", "2": "127.0.0.1:2223"}, "worker": {"1": "127.0.0.1:2224"}})";
  Flags flags;
  flags.cluster.file = file.string();
  flags.cluster.job_name = "ps";
  const auto place = find_place(flags);
  REQUIRE(place);
  CHECK(place->cluster.ps.size() == 3);
  CHECK(place->cluster.workers.size() == 2);
  flags.cluster.task_index = 1;
  CHECK_THROWS_AS(find_place(flags), Error);
  flags.cluster.job_name = "worker";
  CHECK_THROWS_AS(find_place(flags), Error);  // it has to reach ps:1
  CHECK_THROWS_AS(find_ps_tasks(flags), Error);
  std::ofstream(file) << R"({"ps": ["127.0.0.1:2222"], "worker": {"1": "127.0.0.1:2224"}})";
  CHECK(find_place(flags));
  flags.cluster.task_index = 0;
  CHECK_THROWS_AS(find_place(flags), Error);
}

TEST_CASE("addresses of workers and ps tasks are not resolved while the command line is read") {
  Flags flags;
  flags.cluster.ps_hosts = "ps-0.invalid:2222";
  flags.cluster.worker_hosts = "203.0.113.7:2223,w-1.invalid:2223";
  for (const char* job : {"ps", "worker"}) {
    flags.cluster.job_name = job;
    CHECK(find_place(flags));
  }
}

TEST_CASE("a ps listens on the given address, and on its own port unless a different one is given") {
  const auto bind_of = [](const std::string& text) {
    Flags flags = ps_flags();
    flags.cluster.worker_hosts = "127.0.0.1:2224";
    flags.cluster.bind = text;
    return find_place(flags)->bind;
  };
  CHECK(!bind_of(""));
  CHECK(bind_of("0.0.0.0") == HostPort{"0.0.0.0", 2222});
  CHECK(bind_of("[::]:99") == HostPort{"::", 99});
  CHECK(bind_of("every") == HostPort{"every", 2222});
  CHECK_THROWS_AS(bind_of("*"), Error);
}

TEST_CASE("a cluster description in place of a file name is distinguished from a missing file") {
  Flags flags;
  flags.cluster.job_name = "ps";
  flags.cluster.file = R"( {"cluster": {"ps": ["a:1"]}})";
  try {
    find_place(flags);
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kUsage);
    CHECK(std::string(error.what()).find("this is the text of a description") != std::string::npos);
  }
}

TEST_CASE("flags of a task without a job are refused") {
  Flags flags;
  CHECK(!find_place(flags));
  flags.cluster.task_index = true;
  CHECK_THROWS_AS(find_place(flags), Error);
  flags = {};
  flags.cluster.bind = "0.0.0.0";
  CHECK_THROWS_AS(find_place(flags), Error);
  flags.cluster.bind.clear();
  flags.cluster.keys = "";
  CHECK_THROWS_AS(find_place(flags), Error);
}

TEST_CASE("a question uses the same flags for ps tasks as a task") {
  Flags flags;
  CHECK(find_ps_tasks(flags) == std::vector<HostPort>{{"localhost", 2222}});
  flags.cluster.ps_hosts = "a:1,b:2";
  CHECK(find_ps_tasks(flags) == std::vector<HostPort>{{"a", 1}, {"b", 2}});
  flags.cluster.ps_hosts = "a:1,a:1";
  CHECK_THROWS_AS(find_ps_tasks(flags), Error);
  flags.cluster.ps_hosts = "";
  flags.cluster.worker_hosts = "a:1";
  CHECK_THROWS_AS(find_ps_tasks(flags), Error);
}

}  // namespace distmnist
