// The flags of reset, variable and keygen.
#include "tools/flags.h"

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

TEST_CASE("a reset is for named containers, for the default one if the name is empty, or for all") {
  const Flags all = parse({"reset", "--all", "--ps_hosts=h:1,h:2", "--recovery-wait-secs=3"});
  CHECK(all.command == Command::kReset);
  CHECK(all.cluster.ps_hosts == "h:1,h:2");
  CHECK(all.admin.wait_secs == 3);
  CHECK(all.admin.all);
  CHECK_FALSE(all.admin.containers);
  CHECK_FALSE(parse({"reset", "--container=a"}).admin.all);
  CHECK(parse({"reset", "--container=a"}).admin.wait_secs == 5);
  CHECK(parse({"reset", "--container=a,b"}).admin.containers == "a,b");
  CHECK(parse({"reset", "--container", ""}).admin.containers == "");
}

TEST_CASE("keys can be given to tasks and to commands that ask a ps, and an empty name is not the same as none") {
  CHECK_FALSE(parse({"reset", "--all"}).cluster.keys);
  CHECK(parse({"reset", "--all", "--keys=a"}).cluster.keys == "a");
  CHECK(parse({"variable", "list", "--keys", "a"}).cluster.keys == "a");
  CHECK(parse({"--job_name=ps", "--keys="}).cluster.keys == "");
  CHECK_THROWS_AS(parse({"evaluate", "--log_dir=a", "--keys=b"}), Error);
}

TEST_CASE("keygen takes a folder, and tasks or a cluster") {
  const Flags flags = parse({"keygen", "a", "--tasks", "ps:1,worker:2", "--worker-job=w"});
  CHECK(flags.command == Command::kKeygen);
  CHECK(flags.files.key_folder == "a");
  CHECK(flags.files.key_tasks == "ps:1,worker:2");
  CHECK(flags.cluster.worker_job == "w");
  CHECK_THROWS_AS(parse({"keygen"}), Error);
  CHECK_THROWS_AS(parse({"keygen", "a", "b"}), Error);
}

TEST_CASE("variable takes an action, a name and sometimes a value") {
  const Flags flags = parse({"variable", "add", "x", "--ps_hosts=h:1", "--container=c", "--value=-2.5"});
  CHECK(flags.command == Command::kVariable);
  CHECK(flags.admin.action == VariableAction::kAdd);
  CHECK(flags.admin.name == "x");
  CHECK(flags.cluster.container == "c");
  CHECK(flags.admin.value == -2.5);
  CHECK_FALSE(parse({"variable", "list"}).admin.value);
  CHECK_THROWS_AS(parse({"variable"}), Error);
  CHECK_THROWS_AS(parse({"variable", "drop", "x"}), Error);
  CHECK_THROWS_AS(parse({"variable", "get", "x", "--value=much"}), Error);
  CHECK_THROWS_AS(parse({"variable", "get", "x", "--container=a b"}), Error);
}

TEST_CASE("tasks take --container and --ps_stay") {
  const Flags flags = parse({"--container=a/b", "--ps-stay"});
  CHECK(flags.cluster.container == "a/b");
  CHECK(flags.cluster.ps_stay);
  CHECK_FALSE(parse({"--nops_stay"}).cluster.ps_stay);
  CHECK_FALSE(parse({}).cluster.ps_stay);
  CHECK_THROWS_AS(parse({"--container=a,b"}), Error);
}

}  // namespace distmnist
