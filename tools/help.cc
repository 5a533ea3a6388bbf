#include "tools/help.h"

#include <algorithm>
#include <sstream>

#include <fmt/core.h>

namespace distmnist {
namespace {

constexpr std::size_t kMeaningColumn = 34;

// `name`, and `meaning` beside it, in as many lines as it takes.
std::string entry(const std::string& name, const std::string& meaning) {
  std::string out, line = "  " + name;
  if (line.size() + 2 > kMeaningColumn) {
    out = line + "\n";
    line.clear();
  }
  line.resize(kMeaningColumn, ' ');
  std::istringstream words(meaning);
  bool is_first = true;
  for (std::string word; words >> word; is_first = false) {
    if (!is_first && line.size() + 1 + word.size() > kHelpColumns) {
      out += line + "\n";
      line.assign(kMeaningColumn, ' ');
      is_first = true;
    }
    line += (is_first ? "" : " ") + word;
  }
  return out + line + "\n";
}

std::string title_of(const FlagRow& row) {
  const std::string bare(row.bare_name());
  switch (row.type) {
    case FlagType::kSwitch:
      return fmt::format("--{}/--no{}", bare, bare);
    case FlagType::kWholeNumber:
      return row.name + " N";
    case FlagType::kNumber:
      return row.name + " X";
    case FlagType::kTexts:
      return row.name + " ...";
    case FlagType::kText:
      return row.is_named() ? row.name + " TEXT" : row.name;
  }
  return row.name;
}

// The help of a row, with the value that it has where it is not given.
std::string meaning_of(const FlagRow& row) {
  const bool tells = row.help.find("(default:") != std::string::npos || row.type == FlagType::kSwitch;
  const auto value = tells || !row.is_named() ? std::nullopt : row.get(Flags{});
  return value ? fmt::format("{} (default: {})", row.help, *value) : row.help;
}

std::string examples() {
  return "Examples:\n"
         "  distmnist --log_dir=logs                      train here, and keep checkpoints in logs\n"
         "  distmnist --num_workers=2                     train with two workers in this process\n"
         "  distmnist --job_name=ps --ps_hosts=a:2222 --worker_hosts=b:2222,c:2222\n"
         "  distmnist --job_name=worker --task_index=1 --ps_hosts=a:2222 --worker_hosts=b:2222,c:2222\n"
         "  distmnist evaluate --log_dir=logs             test the newest checkpoint\n"
         "  distmnist predict --log_dir=logs digit.png    classify a picture\n";
}

std::string usage_of(const CommandRow& command) {
  std::string usage = fmt::format("Usage: distmnist {} ", command.name);
  for (const FlagRow& row : flag_table()) {
    if (!row.is_for(command.command) || row.is_named()) continue;
    const std::string name = row.type == FlagType::kTexts ? row.name + "..." : row.name;
    usage += (row.uses & kRequired) != 0 ? name + " " : "[" + name + "] ";
  }
  return usage + "[FLAGS]\n" + command.help + "\n";
}

std::string list_of_commands() {
  std::string out = "\nCommands (distmnist COMMAND --help has their flags):\n";
  for (const CommandRow& command : command_table()) {
    if (!command.name.empty()) out += entry(command.name, command.help);
  }
  return out;
}

}  // namespace

std::string help_text(Command command) {
  const CommandRow& asked = row_of(command);
  std::string out;
  if (asked.name.empty()) {
    out =
        "Usage: distmnist [COMMAND] [FLAGS]\n"
        "Trains the MNIST convolutional network, alone or on a cluster of ps and worker processes.\n\n" +
        examples() + list_of_commands();
  } else {
    out = usage_of(asked);
  }
  std::string group;
  for (const FlagRow& row : flag_table()) {
    if (!row.is_for(command)) continue;
    if (row.group != group) out += "\n" + (group = row.group) + ":\n";
    out += entry(title_of(row), meaning_of(row));
  }
  if (asked.name.empty()) {
    out += entry("--config FILE", "TOML file of flags, as a run writes it (config.toml); the command line wins");
    out += entry("--version", "print the version, then exit");
  }
  return out + entry("--help", "print this text, then exit");
}

}  // namespace distmnist
