// Checks every row of the table of flags.
#include "tools/flag_table.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"
#include "tools/help.h"

using namespace distmnist;

namespace {

Flags parse(std::vector<std::string> arguments) {
  std::vector<const char*> words = {"distmnist"};
  for (const std::string& argument : arguments) words.push_back(argument.c_str());
  return parse_flags(static_cast<int>(words.size()), words.data()).flags;
}

// A value that is not the default, with other flags that it requires.
struct Sample {
  std::string value;
  std::vector<std::string> with = {};
};

Sample sample_of(const FlagRow& row) {
  static const std::map<std::string, Sample> samples = {
      {"--model", {"mlp"}},
      {"--batch_size_schedule", {"0:50,10:20"}},
      {"--optimizer", {"sgd"}},
      {"--momentum", {"0.5", {"--optimizer=momentum"}}},
      {"--nesterov", {"true", {"--optimizer=momentum"}}},
      {"--learning_rate_schedule", {"cosine"}},
      {"--decay_steps", {"7", {"--learning_rate_schedule=cosine"}}},
      {"--decay_rate", {"0.5", {"--learning_rate_schedule=staircase"}}},
      {"--augment", {"affine"}},
      {"--data_dir", {"/a folder/with \"quotes\""}},
      {"--dataset", {"synthetic"}},
      {"--replicas_to_aggregate", {"3", {"--sync_replicas"}}},
      {"--on_lost_worker", {"wait", {"--sync_replicas"}}},
      {"--staleness", {"drop:4"}},
      {"--warmup_epochs", {"0.5"}},
      {"--on_nan", {"skip"}},
      {"--wire_dtype", {"bf16"}},
      {"--placement", {"round_robin"}},
      {"--place_variables", {"*=/job:ps/task:0", {"--placement=manual"}}},
      {"--device", {"/device:GPU:1"}},
      {"--precision", {"bf16"}},
      {"--instruction_set", {"portable"}},
      {"--pin", {"none"}},
      {"--replication", {"in_graph", {"--devices=/cpu:0,/cpu:1"}}},
      {"--devices", {"/device:CPU:0,/device:CPU:1"}},
      {"--silence_secs", {"4"}},
      {"--answer_secs", {"20"}},
      {"--batch_per_tower", {"true", {"--devices=/cpu:0,/cpu:1"}}},
  };
  const auto at = samples.find(row.name);
  if (at != samples.end()) return at->second;
  return {row.type == FlagType::kSwitch ? "true" : row.type == FlagType::kNumber ? "0.25" : "2"};
}

Flags parse_sample(const FlagRow& row) {
  const Sample sample = sample_of(row);
  std::vector<std::string> arguments = sample.with;
  arguments.push_back(row.name + "=" + sample.value);
  return parse(arguments);
}

}  // namespace

TEST_CASE("every flag has a name, a group and a complete help text, and occurs once per command") {
  std::set<std::pair<Command, std::string>> seen;
  for (const FlagRow& row : flag_table()) {
    INFO(row.name);
    CHECK_FALSE(row.name.empty());
    CHECK_FALSE(row.group.empty());
    CHECK(row.help.size() >= 10);
    CHECK_FALSE(row.help.ends_with('.'));
    CHECK_FALSE(row.commands.empty());
    for (const Command command : row.commands) CHECK(seen.insert({command, row.name}).second);
  }
}

TEST_CASE("any value written to config.toml is read back") {
  const TempDir temp;
  const std::string file = (temp / "config.toml").string();
  int rows = 0;
  for (const FlagRow& row : flag_table()) {
    if ((row.uses & kInConfig) == 0) continue;
    INFO(row.name);
    const Flags flags = parse_sample(row);
    REQUIRE(row.get(flags) == sample_of(row).value);
    CHECK(row.get(flags) != row.get(Flags{}));
    std::ofstream(file) << to_toml(flags);
    const Flags again = parse({"--config=" + file});
    CHECK(row.get(again) == row.get(flags));
    CHECK(to_toml(again) == to_toml(flags));
    ++rows;
  }
  CHECK(rows > 40);
}

TEST_CASE("flags that workers must agree on are in the fingerprint, by name") {
  const Fingerprint defaults = fingerprint_of_flags(Flags{});
  int rows = 0;
  for (const FlagRow& row : flag_table()) {
    if ((row.uses & kInFingerprint) == 0) continue;
    INFO(row.name);
    const Fingerprint changed = fingerprint_of_flags(parse_sample(row));
    const auto here = std::ranges::find(defaults, row.name, &Fingerprint::value_type::first);
    const auto there = std::ranges::find(changed, row.name, &Fingerprint::value_type::first);
    REQUIRE(here != defaults.end());
    REQUIRE(there != changed.end());
    CHECK(here->second != there->second);
    ++rows;
  }
  CHECK(rows > 20);
  CHECK(defaults.size() == static_cast<std::size_t>(rows));
}

TEST_CASE("a flag without effect on other workers is not in the fingerprint") {
  const Fingerprint defaults = fingerprint_of_flags(Flags{});
  CHECK(fingerprint_of_flags(parse({"--log_every=7", "--log_dir=x", "--device=/cpu:0"})) == defaults);
  CHECK(fingerprint_of_flags(parse({"--optimizer=momentum"})) ==
        fingerprint_of_flags(parse({"--optimizer=momentum", "--momentum=0.9"})));
}

TEST_CASE("the help of every command names all of its flags, in lines of at most 100 columns") {
  for (const CommandRow& command : command_table()) {
    const std::string text = help_text(command.command);
    INFO(text);
    for (const FlagRow& row : flag_table()) {
      if (row.is_for(command.command)) CHECK(text.find(row.name) != std::string::npos);
    }
    CHECK(text.find("--help") != std::string::npos);
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) CHECK(line.size() <= kHelpColumns);
  }
  CHECK(help_text(Command::kPredict).starts_with("Usage: distmnist predict FILE... [FLAGS]\n"));
  CHECK(help_text(Command::kTrain).find("--fresh/--nofresh") != std::string::npos);
  CHECK(help_text(Command::kTrain).find("samples per step and worker; see --batch_per_tower (default: 50)") !=
        std::string::npos);
}
