#include "tools/flags.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "lib/base/error.h"
#include "lib/ps/records/names.h"
#include "tools/command_line.h"
#include "tools/device_flags.h"
#include "tools/flag_table.h"
#include "tools/flag_values.h"
#include "tools/optimizer_flags.h"
#include "tools/preset.h"
#include "tools/replication_flags.h"
#include "tools/tower_flags.h"

namespace distmnist {
namespace {

void check_placement(const Flags& flags) {
  const bool manual = flags.wire.placement == PlacementPolicy::kManual;
  const std::string& rules = flags.wire.place_variables;
  if (manual && rules.empty()) {
    fail(ExitCode::kUsage, "--placement=manual: say with --place_variables which variables go where");
  }
  if (rules.empty()) return;
  if (!manual) fail(ExitCode::kUsage, "--place_variables={}: has no effect without --placement=manual", rules);
  placement_rules(flags);
}

void check_values(const Flags& flags) {
  for (const FlagRow& row : flag_table()) {
    if (row.check) row.check(flags);
  }
  check_optimizer_flags(flags);
  check_placement(flags);
  check_device_flags(flags);
  check_tower_flags(flags);
  if (!is_container_name(flags.cluster.container)) {
    fail(ExitCode::kUsage, "--container={}: {}", flags.cluster.container, name_rule());
  }
}

// A schedule brings its first batch size along; `batch_size_given`: --batch_size was given, too.
void take_first_batch_size(TrainingFlags& training, bool batch_size_given) {
  if (!training.batch_size_schedule) return;
  const std::int64_t first = training.batch_size_schedule->at(0);
  if (batch_size_given && training.batch_size != first) {
    fail(ExitCode::kUsage, "--batch_size={} is not what --batch_size_schedule={} starts with; give one of them",
         training.batch_size, *text_of(*training.batch_size_schedule));
  }
  training.batch_size = first;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

// A file of --config names its data by one flag, and the command line may name other data by the other one.
void prefer_given_data(const std::vector<std::string>& arguments, DataFlags& data) {
  const auto is_given = [&](const std::string& flag) {
    return std::ranges::any_of(
        arguments, [&](const std::string& argument) { return argument == flag || argument.starts_with(flag + "="); });
  };
  const bool data_dir = is_given("--data_dir"), dataset = is_given("--dataset");
  if (data_dir && !dataset) data.dataset.reset();
  if (dataset && !data_dir) data.data_dir.clear();
}

void expand_paths(Flags& flags) {
  for (std::string* path : {&flags.supervisor.log_dir, &flags.data.data_dir, &flags.cluster.file,
                            &flags.files.checkpoint, &flags.files.key_folder}) {
    *path = at_home(*path);
  }
  for (std::string& file : flags.files.files) file = at_home(file);
  if (flags.cluster.keys) flags.cluster.keys = at_home(*flags.cluster.keys);
}

const GivenFlag* find(const CommandLine& line, std::string_view name) {
  const auto at = std::ranges::find_if(line.given, [&](const GivenFlag& each) { return each.row->name == name; });
  return at == line.given.end() ? nullptr : &*at;
}

// Errors name the flag.
void set_flag(Flags& flags, const GivenFlag& given) {
  try {
    given.row->set(flags, given.texts);
  } catch (const Error& error) {
    const std::string what = error.what();
    if (what.starts_with(given.row->name)) throw;
    fail(error.code(), "{}={}: {}", given.row->name, given.texts.back(), what);
  }
}

}  // namespace

ParsedFlags parse_flags(int argc, const char* const* argv) {
  const CommandLine line = read_command_line(argc, argv);
  if (line.text) return {{}, true, *line.text};
  // A preset gives defaults, wherever it is named.
  const GivenFlag* const preset = find(line, "--preset");
  ParsedFlags parsed{flags_of_preset(preset != nullptr ? preset->texts.back() : Flags().training.preset), false, {}};
  Flags& flags = parsed.flags;
  flags.command = line.command;
  for (const GivenFlag& each : line.given) {
    if ((each.row->uses & kRequired) != 0 && each.texts.front().empty()) {
      fail(ExitCode::kUsage, "{} is empty; give a value", each.row->name);
    }
    set_flag(flags, each);
  }
  prefer_given_data(line.words, flags.data);
  expand_paths(flags);
  take_first_batch_size(flags.training, find(line, "--batch_size") != nullptr);
  check_values(flags);
  check_replication(flags);
  return parsed;
}

std::string to_toml(const Flags& flags) {
  std::string text = "# The flags of this run; distmnist --config takes this file.\n";
  for (const FlagRow& row : flag_table()) {
    if ((row.uses & kInConfig) == 0) continue;
    const auto value = row.get(flags);
    const bool is_line = value && value->find('\n') == std::string::npos;  // A path may be anything.
    // A schedule has the first batch size in it.
    const bool is_said = row.name == "--batch_size" && flags.training.batch_size_schedule;
    if (!is_line || is_said) continue;
    text += fmt::format("{} = {}\n", row.bare_name(), row.type == FlagType::kText ? quoted(*value) : *value);
  }
  return text;
}

std::vector<PlacementRule> placement_rules(const Flags& flags) {
  return parse_placement_rules(flags.wire.place_variables, flags.cluster.ps_job);
}

WaitLimits wait_limits(const Flags& flags) {
  const SupervisorFlags& given = flags.supervisor;
  const auto ms = [](double seconds) { return static_cast<TimeMs>(seconds * 1000); };
  return {.recovery_wait_ms = ms(given.recovery_wait_secs),
          .silence_ms = ms(given.silence_secs),
          .answer_ms = ms(given.answer_secs),
          .stuck_ms = ms(given.stuck_secs),
          .disk_ms = ms(given.disk_secs)};
}

}  // namespace distmnist
