#include "lib/cluster/cluster_spec.h"

#include "lib/base/error.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

// The message of the usage error that `call` throws.
template <typename Call>
std::string usage_error(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kUsage);
    return error.what();
  }
  return "no error";
}

std::string host_port_error(std::string_view text) {
  return usage_error([&] { parse_host_port(text); });
}

std::string json_error(std::string_view json, const JobNames& jobs = {}) {
  return usage_error([&] { cluster_from_json(json, "c.json", jobs); });
}

}  // namespace

TEST_CASE("host:port is read") {
  CHECK(parse_host_port("localhost:2222") == HostPort{"localhost", 2222});
  CHECK(parse_host_port("10.0.0.1:1") == HostPort{"10.0.0.1", 1});
  CHECK(parse_host_port("node-7.rack_2.example.org:65535") == HostPort{"node-7.rack_2.example.org", 65535});
  CHECK(parse_host_port("[::1]:2222") == HostPort{"::1", 2222});
  CHECK(parse_host_port("[fe80::1%eth0]:2222") == HostPort{"fe80::1%eth0", 2222});
}

TEST_CASE("host:port is printed as it is read") {
  for (const std::string text : {"localhost:2222", "10.0.0.1:1", "[::1]:2222"}) {
    CHECK(parse_host_port(text).to_string() == text);
  }
}

TEST_CASE("an invalid host:port is quoted with the reason") {
  CHECK(host_port_error("localhost") == "'localhost' has no port: write host:port, like localhost:2222");
  CHECK(host_port_error("") == "'' has no port: write host:port, like localhost:2222");
  CHECK(host_port_error("[::1]") == "'[::1]' has no port: write host:port, like localhost:2222");
  CHECK(host_port_error(":2222") == "':2222' has no host: write host:port, like localhost:2222");
  CHECK(host_port_error("[]:2222") == "'[]:2222' has no host: write host:port, like localhost:2222");
  CHECK(host_port_error("::1:2222") ==
        "'::1:2222' has more than one colon: put an IPv6 address in brackets, like [::1]:2222");
  CHECK(host_port_error("[::1:2222") == "'[::1:2222' is not an address: write [::1]:2222 for IPv6");
  CHECK(host_port_error("tcp://a:2222") ==
        "'tcp://a:2222' begins with a scheme: write host:port only, like localhost:2222");
  CHECK(host_port_error("my host:2222") == "'my host:2222' is not host:port: a host name cannot contain ' '");
}

TEST_CASE("a port is a number from 1 to 65535") {
  for (const std::string port : {"0", "65536", "-1", "+1", "2222x", "", " 1", "0x10", "99999999999"}) {
    CHECK(host_port_error("h:" + port) ==
          "the port '" + port + "' of 'h:" + port + "' is not a number from 1 to 65535");
  }
}

TEST_CASE("a host list is split at commas and whitespace") {
  CHECK(parse_host_list("a:1") == std::vector<HostPort>{{"a", 1}});
  const std::vector<HostPort> three = {{"a", 1}, {"b", 2}, {"::1", 3}};
  for (const char* text : {"a:1,b:2, [::1]:3", "a:1 b:2 [::1]:3", "a:1\nb:2\n[::1]:3\n", " a:1,\nb:2\r\n\t[::1]:3"}) {
    INFO(text);
    CHECK(parse_host_list(text) == three);
  }
}

TEST_CASE("an invalid separator in a host list is named") {
  const auto error = [](std::string_view list) { return usage_error([&] { parse_host_list(list); }); };
  CHECK(error("a:1;b:2") == "'a:1;b:2': the addresses of a host list are separated by commas or spaces, not by ';'");
  CHECK(error("a:1|b:2").ends_with("not by '|'"));
  CHECK(error("[::1]:1;[::1]:2").ends_with("not by ';'"));
  CHECK(error("a:1\xef\xbc\x8c"
              "b:2")
            .ends_with("not by '\xef\xbc\x8c'"));
  CHECK(error("c:3,a:1&b:2") ==
        "'a:1&b:2': the addresses of a host list are separated by commas or spaces, not by '&'");
  CHECK(error("tcp://a:1").find("begins with a scheme") != std::string::npos);
  CHECK(error("a;b:2") == "'a;b:2' is not host:port: a host name cannot contain ';'");
}

TEST_CASE("a listen address has an optional port") {
  CHECK(parse_bind_address("0.0.0.0", 7) == HostPort{"0.0.0.0", 7});
  CHECK(parse_bind_address("[::]", 7) == HostPort{"::", 7});
  CHECK(parse_bind_address("::", 7) == HostPort{"::", 7});
  CHECK(parse_bind_address("fe80::1%eth0", 7) == HostPort{"fe80::1%eth0", 7});
  CHECK(parse_bind_address("[::]:9", 7) == HostPort{"::", 9});
  CHECK(parse_bind_address("10.0.0.1:9", 7) == HostPort{"10.0.0.1", 9});
  CHECK(parse_bind_address("ps-0.local", 7) == HostPort{"ps-0.local", 7});
  for (const char* text : {"", "*", "[]", "a b", "tcp://0.0.0.0"}) {
    INFO(text);
    CHECK(usage_error([&] { parse_bind_address(text, 7); }) != "no error");
  }
  CHECK(usage_error([] { parse_bind_address("h:0", 7); }) == "the port '0' of 'h:0' is not a number from 1 to 65535");
}

TEST_CASE("an address that means every address of a host is recognized in each spelling") {
  for (const char* host : {"0.0.0.0", "::", "0::0", "0:0:0:0:0:0:0:0"}) CHECK(is_any_address(host));
  for (const char* host : {"127.0.0.1", "::1", "0", "", "localhost", "0.0.0.1"}) CHECK(!is_any_address(host));
}

TEST_CASE("an empty entry of a host list is refused") {
  for (const std::string list : {"", "a:1,", ",a:1", "a:1,,b:2", " ", "a:1\n,,b:2"}) {
    const std::string message = usage_error([&] { parse_host_list(list); });
    CHECK(message.find("of the host list '" + list + "' is empty: write host:port,host:port") != std::string::npos);
  }
  CHECK(usage_error([] { parse_host_list("a:1,b"); }).starts_with("'b' has no port"));
}

TEST_CASE("the built-in cluster is valid: one ps and three workers") {
  const ClusterSpec cluster = built_in_cluster();
  CHECK_NOTHROW(validate(cluster));
  CHECK(cluster.ps == parse_host_list("localhost:2222"));
  CHECK(cluster.workers == parse_host_list("localhost:2223,localhost:2224,localhost:2225"));
  CHECK(cluster.source == "the built-in list");
}

TEST_CASE("a cluster is read from JSON") {
  const ClusterSpec cluster = cluster_from_json(R"({"ps": ["a:1"], "worker": ["b:2", "[::1]:3"]})", "c.json");
  CHECK(cluster.ps == parse_host_list("a:1"));
  CHECK(cluster.workers == parse_host_list("b:2,[::1]:3"));
  CHECK(cluster.source == "c.json");
}

TEST_CASE("any two jobs of a JSON cluster can play the roles, and other jobs are named") {
  const std::string json = R"({"parameter_server": ["a:1"], "local": ["b:2"], "evaluator": [3], "worker": {}})";
  const ClusterSpec cluster = cluster_from_json(json, "c.json", {.ps = "parameter_server", .worker = "local"});
  CHECK(cluster.ps == parse_host_list("a:1"));
  CHECK(cluster.workers == parse_host_list("b:2"));
  REQUIRE(cluster.remarks.size() == 2);
  CHECK(cluster.remarks[0] ==
        "c.json: job 'evaluator' has no role here: 'parameter_server' is the ps and 'local' the workers (--ps_job, "
        "--worker_job)");
  CHECK(cluster.remarks[1].starts_with("c.json: job 'worker' has no role"));
  CHECK(cluster_from_json(R"({"ps": ["a:1"], "worker": ["b:2"]})", "c.json").remarks.empty());
}

TEST_CASE("the tasks of a job can be numbered, and some numbers omitted") {
  const ClusterSpec cluster =
      cluster_from_json(R"({"ps": ["a:1"], "worker": {"2": "d:4", "0": "b:2", "10": "e:5"}})", "c.json");
  REQUIRE(cluster.workers.size() == 11);
  CHECK(cluster.workers[0] == HostPort{"b", 2});
  CHECK(cluster.workers[2] == HostPort{"d", 4});
  CHECK(cluster.workers[10] == HostPort{"e", 5});
  CHECK(!is_known(cluster.workers[1]));
  CHECK_NOTHROW(validate(cluster));
  CHECK(address_of(cluster, {"worker", 2}) == HostPort{"d", 4});
  CHECK(usage_error([&] { address_of(cluster, {"worker", 1}); }) == "the cluster from c.json does not name worker:1");
  CHECK(tasks_on_same_host(cluster.workers, 0) == 1);
  CHECK_NOTHROW(require_all_known(cluster.ps, "ps", "c.json"));
  CHECK(usage_error([&] { require_all_known(cluster.workers, "worker", "c.json"); }) ==
        "the cluster from c.json does not name worker:1, which every worker has to reach");
}

TEST_CASE("invalid task numbers are named") {
  const auto error = [](std::string_view tasks) {
    return json_error(fmt::format(R"({{"ps": ["a:1"], "worker": {}}})", tasks));
  };
  CHECK(error(R"({"one": "b:2"})") ==
        R"(c.json: 'one' of job 'worker' is not a task number: write {"0": "host:port", "1": "host:port"})");
  for (const char* key : {"-1", "1.5", "", " 1", "99999999999999999999", "1000001"}) {
    CHECK(error(fmt::format(R"({{"{}": "b:2"}})", key)).find("is not a task number") != std::string::npos);
  }
  CHECK(error(R"({"0": 7})") == R"(c.json: task 0 of job 'worker' is number and not a string: write "host:port")");
  CHECK(error(R"({"0": "b:2", "0": "c:3"})") == "c.json describes task 0 of job 'worker' twice: keep one of them");
  CHECK(error(R"({"0": "b:2", "00": "c:3"})") == "c.json describes task 0 of job 'worker' twice: keep one of them");
}

TEST_CASE("a TF_CONFIG is distinguished from a cluster description") {
  const std::string message =
      json_error(R"({"cluster": {"ps": ["a:1"], "worker": ["b:2"]}, "task": {"type": "ps", "index": 0}})");
  CHECK(message.starts_with(R"(c.json is a whole TF_CONFIG: put only the value of its "cluster" into the file)"));
}

TEST_CASE("a ps whose address means every address is refused, because no worker can connect to it") {
  for (const char* host : {"0.0.0.0:1", "[::]:1"}) {
    const std::string message = usage_error([&] {
      validate({parse_host_list(host), parse_host_list("b:1"), "the flags"});
    });
    CHECK(message.find("means every interface") != std::string::npos);
    CHECK(message.find("--bind=") != std::string::npos);
  }
  // A worker's task may have this address: there it is only a name.
  CHECK_NOTHROW(validate({parse_host_list("a:1"), parse_host_list("0.0.0.0:1"), "the flags"}));
}

TEST_CASE("an invalid JSON cluster is reported with the reason") {
  CHECK(json_error("{\"ps\": [\n oops]}").starts_with("c.json is not JSON: parse error at line 2, column"));
  CHECK(json_error("").starts_with("c.json is not JSON: parse error"));
  CHECK(json_error(std::string(1'000'000, '[')).starts_with("c.json is not JSON: parse error"));
  CHECK(json_error("[1]") == R"(c.json is not a JSON object: write {"ps": ["host:port"], "worker": ["host:port"]})");
  CHECK(json_error(R"({"host": ["a:1"], "worker": ["b:2"]})") ==
        "c.json has no job 'ps' (it has 'host', 'worker'): say with --ps_job which job plays this role");
  CHECK(json_error(R"({"ps": ["a:1"]})") ==
        "c.json has no job 'worker' (it has 'ps'): say with --worker_job which job plays this role");
  CHECK(json_error("{}") == "c.json has no job 'ps' (it has no jobs): say with --ps_job which job plays this role");
  CHECK(json_error(R"({"ps": "a:1", "worker": ["b:2"]})") ==
        R"(c.json: job 'ps' is not a list: write ["host:port", ...], or {"0": "host:port", ...})");
  CHECK(json_error(R"({"ps": ["a:1"], "worker": ["b:2", 7]})") ==
        R"(c.json: task 1 of job 'worker' is number and not a string: write "host:port")");
  CHECK(json_error(R"({"ps": ["a:1"], "worker": ["b"]})") ==
        "c.json: task 0 of job 'worker': 'b' has no port: write host:port, like localhost:2222");
  CHECK(json_error(R"({"ps": ["a:1"], "worker": ["b:2"], "ps": ["c:3"]})") ==
        "c.json describes job 'ps' twice: keep one of them");
  CHECK(json_error("{}", {.ps = "worker", .worker = "worker"}) ==
        "--ps_job and --worker_job are both 'worker': they must name two jobs of c.json");
}

TEST_CASE("a deeply nested description is refused early") {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += R"({"a":)";
  text += "1" + std::string(20'000, '}');
  CHECK(json_error(text).find("has no job 'ps'") != std::string::npos);
}

TEST_CASE("duplicate keys below a job that plays no role are ignored") {
  CHECK_NOTHROW(
      cluster_from_json(R"({"ps": ["a:1"], "worker": ["b:2"], "x": {"k": 1, "k": 2}, "y": {"k": 3}})", "c.json"));
}

TEST_CASE("two tasks with the same address are refused, and both are named") {
  CHECK(usage_error([] {
          validate({parse_host_list("a:1"), parse_host_list("b:1,A:1"), "the flags"});
        }) == "ps:0 and worker:1 are both at A:1 in the flags: give every task its own host:port");
  CHECK(usage_error([] {
          validate({parse_host_list("a:1"), parse_host_list("b:1,c:1,b:1"), "c.json"});
        }) == "worker:0 and worker:2 are both at b:1 in c.json: give every task its own host:port");
  CHECK_NOTHROW(validate({parse_host_list("a:1"), parse_host_list("a:2,b:1"), "the flags"}));
}

TEST_CASE("a cluster needs a ps and a worker") {
  CHECK(usage_error([] {
          validate({{}, parse_host_list("b:1"), "the flags"});
        }) == "the cluster from the flags has no ps: name at least one, like --ps_hosts localhost:2222");
  CHECK(usage_error([] {
          validate({parse_host_list("b:1"), {}, "the flags"});
        }) == "the cluster from the flags has no worker: name at least one, like --worker_hosts localhost:2223");
}

TEST_CASE("a task finds its address") {
  const ClusterSpec cluster = built_in_cluster();
  CHECK(address_of(cluster, {"ps", 0}).port == 2222);
  CHECK(address_of(cluster, {"worker", 2}).port == 2225);
}

TEST_CASE("a task's address is found") {
  const ClusterSpec cluster = built_in_cluster();
  CHECK(usage_error([&] {
          address_of(cluster, {"worker", 3});
        }) == "--task_index=3 is out of range: the cluster from the built-in list has worker:0 to worker:2");
  CHECK(usage_error([&] {
          address_of(cluster, {"ps", -1});
        }) == "--task_index=-1 is out of range: the cluster from the built-in list has ps:0 to ps:0");
  CHECK(usage_error([&] {
          address_of(cluster, {"chief", 0});
        }) == "job 'chief' has no tasks in a cluster: choose ps or worker");
  CHECK(usage_error([&] { address_of({{}, {}, "x"}, {"ps", 0}); }) == "the cluster from x has no ps");
}

TEST_CASE("tasks on the same host are counted") {
  const std::vector<HostPort> tasks = parse_host_list("a:1,b:1,A:2,c:1");
  CHECK(tasks_on_same_host(tasks, 0) == 2);
  CHECK(tasks_on_same_host(tasks, 1) == 1);
  CHECK(tasks_on_same_host(tasks, 2) == 2);
}

TEST_CASE("a task is printed as job:index") {
  CHECK(TaskId{"worker", 1}.to_string() == "worker:1");
}

}  // namespace distmnist
