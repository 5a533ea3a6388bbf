#include "tools/admin_flags.h"

#include <string>
#include <vector>

#include "lib/base/error.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

Flags parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "distmnist");
  return parse_flags(static_cast<int>(arguments.size()), arguments.data()).flags;
}

}  // namespace

TEST_CASE("a reset is of named containers, of the default one where the name is empty, or of all") {
  const Flags all = parse({"reset", "--all", "--ps_hosts=h:1,h:2", "--recovery-wait-secs=3"});
  CHECK(all.command == Command::kReset);
  CHECK(all.ps_hosts == "h:1,h:2");
  CHECK(all.admin_wait_secs == 3);
  CHECK(all.reset_all);
  CHECK_FALSE(all.reset_containers);
  CHECK_FALSE(parse({"reset", "--container=a"}).reset_all);
  CHECK(parse({"reset", "--container=a"}).admin_wait_secs == 5);
  CHECK(parse({"reset", "--container=a,b"}).reset_containers == "a,b");
  CHECK(parse({"reset", "--container", ""}).reset_containers == "");
}

TEST_CASE("keys may be named for tasks and for what asks a ps, and a name that is empty is not the same as none") {
  CHECK_FALSE(parse({"reset", "--all"}).keys);
  CHECK(parse({"reset", "--all", "--keys=a"}).keys == "a");
  CHECK(parse({"variable", "list", "--keys", "a"}).keys == "a");
  CHECK(parse({"--job_name=ps", "--keys="}).keys == "");
  CHECK_THROWS_AS(parse({"evaluate", "--log_dir=a", "--keys=b"}), Error);
}

TEST_CASE("keygen takes a folder, and tasks or a cluster") {
  const Flags flags = parse({"keygen", "a", "--tasks", "ps:1,worker:2", "--worker-job=w"});
  CHECK(flags.command == Command::kKeygen);
  CHECK(flags.keygen_folder == "a");
  CHECK(flags.keygen_tasks == "ps:1,worker:2");
  CHECK(flags.worker_job == "w");
  CHECK_THROWS_AS(parse({"keygen"}), Error);
  CHECK_THROWS_AS(parse({"keygen", "a", "b"}), Error);
}

TEST_CASE("variable takes an action, a name and perhaps a value") {
  const Flags flags = parse({"variable", "add", "x", "--ps_hosts=h:1", "--container=c", "--value=-2.5"});
  CHECK(flags.command == Command::kVariable);
  CHECK(flags.variable_action == "add");
  CHECK(flags.variable_name == "x");
  CHECK(flags.container == "c");
  CHECK(flags.variable_value == -2.5);
  CHECK_FALSE(parse({"variable", "list"}).variable_value);
  CHECK_THROWS_AS(parse({"variable"}), Error);
  CHECK_THROWS_AS(parse({"variable", "drop", "x"}), Error);
  CHECK_THROWS_AS(parse({"variable", "get", "x", "--value=much"}), Error);
  CHECK_THROWS_AS(parse({"variable", "get", "x", "--container=a b"}), Error);
}

TEST_CASE("tasks take --container and --ps_stay") {
  const Flags flags = parse({"--container=a/b", "--ps-stay"});
  CHECK(flags.container == "a/b");
  CHECK(flags.ps_stay);
  CHECK_FALSE(parse({"--nops_stay"}).ps_stay);
  CHECK_FALSE(parse({}).ps_stay);
  CHECK_THROWS_AS(parse({"--container=a,b"}), Error);
}

}  // namespace distmnist
