#include "lib/cluster/placement.h"

#include <algorithm>
#include <map>

#include "lib/base/error.h"
#include "lib/base/random.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

namespace distmnist {
namespace {

const PlacementPolicy kPolicies[] = {PlacementPolicy::kSplit, PlacementPolicy::kRoundRobin,
                                     PlacementPolicy::kLoadBalanced, PlacementPolicy::kManual};

std::vector<NamedRange> variables_of(const std::vector<std::int64_t>& sizes) {
  std::vector<NamedRange> variables;
  std::int64_t offset = 0;
  for (const std::int64_t size : sizes) {
    variables.push_back({fmt::format("v{}", variables.size()), {offset, size}});
    offset += size;
  }
  return variables;
}

// The variables of the MNIST CNN: 1,625,606 floats.
std::vector<NamedRange> cnn_variables() {
  std::vector<NamedRange> variables = variables_of({800, 32, 51200, 64, 1568000, 500, 5000, 10});
  const char* const names[] = {"conv1/weights",           "conv1/biases",           "conv2/weights", "conv2/biases",
                               "fully_connected/weights", "fully_connected/biases", "pred/weights",  "pred/biases"};
  for (std::size_t i = 0; i < variables.size(); ++i) variables[i].name = names[i];
  return variables;
}

std::vector<NamedRange> random_variables(std::uint64_t seed) {
  Random random(seed, 0);
  std::vector<std::int64_t> sizes(1 + random.below(12));
  for (std::int64_t& size : sizes) {
    // Sizes around the 16 floats of a cut, and much larger ones.
    size = static_cast<std::int64_t>(1 + random.below(random.below(2) == 0 ? 40 : 5000));
  }
  return variables_of(sizes);
}

std::int64_t floats_of(const std::vector<NamedRange>& pieces) {
  std::int64_t sum = 0;
  for (const NamedRange& piece : pieces) sum += piece.range.size;
  return sum;
}

// True if the pieces of all ps together cover the variables exactly: no float is missing or duplicated, and no piece
// crosses a variable's border or has the wrong name.
bool covers_exactly(const PlacementPlan& plan, const std::vector<NamedRange>& variables) {
  std::map<std::string, std::vector<Range>> pieces;
  for (const auto& shard : plan) {
    for (const NamedRange& piece : shard) pieces[piece.name].push_back(piece.range);
  }
  for (const NamedRange& variable : variables) {
    std::vector<Range>& parts = pieces[variable.name];
    std::sort(parts.begin(), parts.end(), [](Range a, Range b) { return a.offset < b.offset; });
    std::int64_t next = variable.range.offset;
    for (const Range part : parts) {
      if (part.offset != next || part.size <= 0) return false;
      next = part.end();
    }
    if (next != variable.range.end()) return false;
  }
  return pieces.size() == variables.size();
}

std::vector<std::string> names_of(const std::vector<NamedRange>& shard) {
  std::vector<std::string> names;
  for (const NamedRange& piece : shard) names.push_back(piece.name);
  return names;
}

}  // namespace

TEST_CASE("every float of random variables is in exactly one piece, in order of offset") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const std::vector<NamedRange> variables = random_variables(seed);
    for (const PlacementPolicy policy : kPolicies) {
      for (int num_ps = 1; num_ps <= 7; ++num_ps) {
        const PlacementPlan plan = place(variables, num_ps, policy);
        INFO("seed " << seed << ", policy " << static_cast<int>(policy) << ", " << num_ps << " ps");
        REQUIRE(plan.size() == static_cast<std::size_t>(num_ps));
        REQUIRE(covers_exactly(plan, variables));
        for (const auto& shard : plan) {
          REQUIRE(std::is_sorted(shard.begin(), shard.end(), [](const NamedRange& a, const NamedRange& b) {
            return a.range.offset < b.range.offset;
          }));
        }
      }
    }
  }
}

TEST_CASE("split gives every ps the same number of floats, up to 16 floats of rounding") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const std::vector<NamedRange> variables = random_variables(seed);
    for (int num_ps = 1; num_ps <= 7; ++num_ps) {
      for (const auto& shard : place(variables, num_ps, PlacementPolicy::kSplit)) {
        REQUIRE(std::abs(floats_of(shard) - floats_of(variables) / num_ps) <= 17);
      }
    }
  }
}

TEST_CASE("split cuts variables only at multiples of 16 floats") {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const std::vector<NamedRange> variables = random_variables(seed);
    for (const auto& shard : place(variables, 5, PlacementPolicy::kSplit)) {
      for (const NamedRange& piece : shard) {
        const NamedRange& variable = variables[static_cast<std::size_t>(std::stoi(piece.name.substr(1)))];
        REQUIRE((piece.range.offset - variable.range.offset) % 16 == 0);
      }
    }
  }
}

TEST_CASE("split divides the large matrix of the CNN between two ps") {
  const PlacementPlan plan = place(cnn_variables(), 2, PlacementPolicy::kSplit);
  CHECK(floats_of(plan[0]) == 52096 + 760704);
  CHECK(floats_of(plan[1]) == 1625606 - 812800);
  CHECK(names_of(plan[0]).back() == "fully_connected/weights");
  CHECK(names_of(plan[1]).front() == "fully_connected/weights");
}

TEST_CASE("round robin counts global_step first") {
  const PlacementPlan plan = place(cnn_variables(), 2, PlacementPolicy::kRoundRobin);
  CHECK(names_of(plan[0]) ==
        std::vector<std::string>{"conv1/biases", "conv2/biases", "fully_connected/biases", "pred/biases"});
  CHECK(names_of(plan[1]) ==
        std::vector<std::string>{"conv1/weights", "conv2/weights", "fully_connected/weights", "pred/weights"});
}

TEST_CASE("load balancing gives each variable to the ps with the fewest bytes so far") {
  // ps 0 starts with the 8 bytes of global_step.
  const PlacementPlan plan = place(variables_of({10, 5, 2, 8, 100}), 2, PlacementPolicy::kLoadBalanced);
  CHECK(names_of(plan[0]) == std::vector<std::string>{"v1", "v2", "v3"});
  CHECK(names_of(plan[1]) == std::vector<std::string>{"v0", "v4"});
}

TEST_CASE("if two ps have equally many bytes, the first ps gets the variable") {
  // After v0 (2 floats) on ps 1, both hold 8 bytes.
  const PlacementPlan plan = place(variables_of({2, 7}), 2, PlacementPolicy::kLoadBalanced);
  CHECK(names_of(plan[0]) == std::vector<std::string>{"v1"});
}

TEST_CASE("manual placement uses the first rule that matches") {
  const PlacementRule rules[] = {{"conv?/weights", 2}, {"*biases", 0}, {"conv1/*", 1}, {"fully*", 1}, {"pred/*", 1}};
  const PlacementPlan plan = place(cnn_variables(), 3, PlacementPolicy::kManual, rules);
  CHECK(names_of(plan[0]) ==
        std::vector<std::string>{"conv1/biases", "conv2/biases", "fully_connected/biases", "pred/biases"});
  CHECK(names_of(plan[1]) == std::vector<std::string>{"fully_connected/weights", "pred/weights"});
  CHECK(names_of(plan[2]) == std::vector<std::string>{"conv1/weights", "conv2/weights"});
  CHECK(covers_exactly(plan, cnn_variables()));
}

TEST_CASE("variables without a rule go whole to the ps with the fewest bytes, counted after the rules were applied") {
  const PlacementRule rules[] = {{"v3", 1}};
  // ps 0 holds global_step (8 bytes) and ps 1 holds v3 (400 bytes): v0 to v2 fit on ps 0 before v4 goes to ps 1.
  const PlacementPlan plan = place(variables_of({10, 70, 19, 100, 5}), 2, PlacementPolicy::kManual, rules);
  CHECK(names_of(plan[0]) == std::vector<std::string>{"v0", "v1", "v2"});
  CHECK(names_of(plan[1]) == std::vector<std::string>{"v3", "v4"});
  CHECK(covers_exactly(plan, variables_of({10, 70, 19, 100, 5})));
}

TEST_CASE("a rule for a task that is not in the cluster is refused") {
  const PlacementRule rules[] = {{"conv*", 1}, {"pred/*", 2}};
  CHECK(fails_with(ExitCode::kUsage, "'pred/*' is assigned to ps task 2, but the cluster has only tasks 0 to 1",
                   [&] { place(cnn_variables(), 2, PlacementPolicy::kManual, rules); }));
}

TEST_CASE("a rule that matches no variable is refused with the variables' names") {
  const PlacementRule rules[] = {{"conv3/*", 0}};
  CHECK(fails_with(ExitCode::kUsage, "'conv3/*' matches no variable of the model, which has v0, v1", [&] {
    place(variables_of({1, 1}), 2, PlacementPolicy::kManual, rules);
  }));
}

TEST_CASE("rules are read as pattern and task") {
  CHECK(parse_placement_rules("conv1/*=/job:ps/task:0,pred/w?ights=/job:ps/replica:0/task:12/cpu:0", "ps") ==
        std::vector<PlacementRule>{{"conv1/*", 0}, {"pred/w?ights", 12}});
  CHECK(parse_placement_rules("*=/job:server/task:1", "server") == std::vector<PlacementRule>{{"*", 1}});
  CHECK(parse_placement_rules("*=/job:ps/task:1", "server") == std::vector<PlacementRule>{{"*", 1}});
}

TEST_CASE("an invalid rule is refused and quoted") {
  const std::pair<const char*, const char*> cases[] = {
      {"", "'' is not a pattern and a task"},
      {"conv1/*", "'conv1/*' is not a pattern and a task"},
      {"=/job:ps/task:0", "'=/job:ps/task:0' is not a pattern and a task"},
      {"a=/job:ps/task:0,", "'' is not a pattern and a task"},
      {"a=", "'' does not name a device"},
      {"a=1", "'1' is not a device"},
      {"a=/job:ps", "'a=/job:ps' does not name a job and a task"},
      {"a=/task:0", "'a=/task:0' does not name a job and a task"},
      {"a=/job:ps/task:x", "'x' of 'task:x' is not a number"},
      {"a=/job:worker/task:0", "names the job worker, but variables are on the ps"},
      {"a=/job:ps/task:0/gpu:0", "a ps task has only its /cpu:0"},
      {"a=/job:ps/replica:1/task:0", "a ps task has only its /cpu:0"},
  };
  for (const auto& [text, says] : cases) {
    INFO(text);
    CHECK(fails_with(ExitCode::kUsage, says, [&] { parse_placement_rules(text, "ps"); }));
  }
}

TEST_CASE("with more ps than floats some ps hold nothing") {
  for (const PlacementPolicy policy : kPolicies) {
    const std::vector<NamedRange> variables = variables_of({1, 2});
    const PlacementPlan plan = place(variables, 7, policy);
    CHECK(plan.size() == 7);
    CHECK(covers_exactly(plan, variables));
  }
}

TEST_CASE("one ps holds everything under every policy") {
  for (const PlacementPolicy policy : kPolicies)
    CHECK(place(cnn_variables(), 1, policy) == PlacementPlan{cnn_variables()});
}

TEST_CASE("no variables make an empty plan") {
  for (const PlacementPolicy policy : kPolicies) CHECK(place({}, 2, policy) == PlacementPlan(2));
}

TEST_CASE("the plan is printed with sizes, shares and cuts") {
  CHECK(describe(place(cnn_variables(), 2, PlacementPolicy::kSplit)) ==
        std::vector<std::string>{
            "ps:0 3.25 MB (50.0 %): global_step, conv1/weights, conv1/biases, conv2/weights, conv2/biases, "
            "fully_connected/weights[0:760704]",
            "ps:1 3.25 MB (50.0 %): fully_connected/weights[760704:1568000], fully_connected/biases, pred/weights, "
            "pred/biases"});
  CHECK(
      describe(place(variables_of({4, 300}), 3, PlacementPolicy::kRoundRobin)) ==
      std::vector<std::string>{"ps:0 0 B (0.0 %): global_step", "ps:1 16 B (1.3 %): v0", "ps:2 1.20 kB (98.7 %): v1"});
  CHECK(describe(place({}, 2, PlacementPolicy::kSplit)) ==
        std::vector<std::string>{"ps:0 0 B (0.0 %): global_step", "ps:1 0 B (0.0 %): nothing"});
}

TEST_CASE("a long line of the plan is shortened and marked as shortened") {
  const std::vector<std::string> lines =
      describe(place(variables_of(std::vector<std::int64_t>(100, 1)), 1, PlacementPolicy::kSplit));
  CHECK(lines[0].ends_with("v9, v10, and 89 more"));
}

TEST_CASE("placements are read by name") {
  CHECK(parse_placement("split") == PlacementPolicy::kSplit);
  CHECK(parse_placement("round_robin") == PlacementPolicy::kRoundRobin);
  CHECK(parse_placement("load_balanced") == PlacementPolicy::kLoadBalanced);
  CHECK(parse_placement("manual") == PlacementPolicy::kManual);
  try {
    parse_placement("roundrobin");
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kUsage);
    CHECK(std::string(error.what()) ==
          "unknown placement 'roundrobin': choose split, round_robin, load_balanced or manual");
  }
}

}  // namespace distmnist
