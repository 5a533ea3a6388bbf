#include "tools/command_line.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string_view>

#include <CLI/CLI.hpp>

#include "lib/base/error.h"
#include "lib/base/folder.h"
#include "tools/arguments.h"
#include "tools/environment.h"
#include "tools/help.h"

namespace distmnist {
namespace {

// A file of flags has no sections: CLI11 would take one for a subcommand, and its keys for that subcommand's flags.
class FlatConfig : public CLI::ConfigBase {
 public:
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::ostringstream text;
    text << input.rdbuf();
    const std::string lines = plain_config_text(text.str());
    if (lines.find('\0') != std::string::npos) fail(ExitCode::kUsage, "--config: not a text file");
    std::istringstream plain(lines);
    std::vector<CLI::ConfigItem> items = CLI::ConfigBase::from_config(plain);
    std::set<std::string> seen;
    for (const CLI::ConfigItem& item : items) {
      if (!seen.insert(item.name).second) fail(ExitCode::kUsage, "--config: '{}' appears twice; keep one", item.name);
      if (item.name == "config" || item.name == "help" || item.name == "version")
        fail(ExitCode::kUsage, "--config: '{}' has no effect in a file; leave it out", item.name);
      if (!item.parents.empty()) throw CLI::ConfigError("section [" + item.parents.front() + "]");
    }
    return items;
  }
};

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string suggestion(std::string_view text, const std::vector<std::string>& names) {
  const std::optional<std::string> nearest = nearest_name(text, names);
  return nearest ? fmt::format(" (did you mean {}?)", *nearest) : "";
}

// Whether a flag takes a value; commands agree where they have the same flag.
FlagKind kind_of_flag(const std::string& name) {
  if (name == "--config") return FlagKind::kValue;
  if (name == "--help" || name == "--version") return FlagKind::kSwitch;
  const bool is_no = name.starts_with("--no");
  for (const FlagRow& row : flag_table()) {
    if (is_no && row.type == FlagType::kSwitch && row.bare_name() == std::string_view(name).substr(4)) {
      return FlagKind::kSwitch;
    }
    if (row.name != name) continue;
    return row.type == FlagType::kSwitch   ? FlagKind::kSwitch
           : row.type == FlagType::kNumber ? FlagKind::kNumber
                                           : FlagKind::kValue;
  }
  return FlagKind::kUnknown;
}

// The words are read before CLI11 opens the file, and its own messages about what is no file are poor.
void require_file(const std::string& config) {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(config, ignored);
  if (std::filesystem::is_regular_file(status) || status.type() == std::filesystem::file_type::none) return;
  if (!std::filesystem::exists(status)) fail(ExitCode::kUsage, "--config={}: no such file", config);
  fail(ExitCode::kUsage, "--config={}: {}; name a file", config,
       std::filesystem::is_directory(status) ? "a folder" : "a pipe or device");
}

// The words in one spelling, the name of the configuration made whole.
std::vector<std::string> words_of(int argc, const char* const* argv) {
  constexpr std::string_view kConfig = "--config";
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  words = normalised(words, kind_of_flag);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool apart = words[i] == kConfig && i + 1 < words.size();
    if (!apart && !words[i].starts_with(std::string(kConfig) + "=")) continue;
    const std::string file = at_home(apart ? words[i + 1] : words[i].substr(kConfig.size() + 1));
    require_file(file);
    (apart ? words[i + 1] : words[i]) = apart ? file : fmt::format("{}={}", kConfig, file);
  }
  return words;
}

// "distmnist", or "distmnist evaluate" where that was asked for.
std::string asked_program(const CLI::App& app) {
  const std::vector<CLI::App*> asked = app.get_subcommands();
  return asked.empty() ? "distmnist" : "distmnist " + asked.front()->get_name();
}

// A word that CLI11 could make nothing of.
std::string describe_extra(const CLI::App& app) {
  const std::string word = app.remaining(true).front();
  const std::string name = word.substr(0, word.find('='));
  const std::vector<CLI::App*> asked = app.get_subcommands();
  const std::string program = asked_program(app);
  if (word.starts_with('-')) {
    if (!asked.empty() && app.get_option_no_throw(name) != nullptr) {
      return fmt::format("{} is a flag of training, and not of {}", name, program);
    }
    const CLI::App& of = asked.empty() ? app : *asked.front();
    return fmt::format("'{}' is not a flag of {}{}", name, program, suggestion(name, flags_of(of)));
  }
  std::vector<std::string> commands;
  for (const CLI::App* subcommand : app.get_subcommands([](const CLI::App*) { return true; }))
    commands.push_back(subcommand->get_name());
  const bool address = word.find(':') != std::string::npos;
  return fmt::format("'{}' is not an argument of {}{}", word, program,
                     address         ? "; quote a host list with spaces in it"
                     : asked.empty() ? suggestion(word, commands)
                                     : "");
}

}  // namespace

std::string at_home(const std::string& path) {
  return path.starts_with('~') ? expand_home(path, home_folder().string()) : path;
}

namespace {

// CLI11 also takes any number for a switch, and some texts that only begin with one.
void require_truth(const std::string& flag, const std::string& text) {
  static const std::set<std::string> kTruths = {"true", "false", "yes", "no", "on", "off", "1", "0"};
  if (!kTruths.contains(text)) fail(ExitCode::kUsage, "{}={}: give true or false", flag, text);
}

// What CLI11 has found for the flags of one command.
class Values {
 public:
  void add(CLI::App& app, const FlagRow& row) {
    Value& value = values_.emplace_back();
    value.row = &row;
    const std::string bare(row.bare_name());
    switch (row.type) {
      case FlagType::kSwitch:
        value.option = app.add_flag(fmt::format("--{},!--no{}", bare, bare), value.is_on);
        break;
      case FlagType::kTexts:
        value.option = app.add_option(row.name, value.texts);
        break;
      default:
        value.option = app.add_option(row.name, value.texts.emplace_back());
    }
    if ((row.uses & kRequired) != 0) value.option->required();
  }
  std::vector<GivenFlag> given() const {
    std::vector<GivenFlag> out;
    for (const Value& value : values_) {
      if (value.option->count() == 0) continue;
      const bool is_switch = value.row->type == FlagType::kSwitch;
      if (is_switch) require_truth(value.row->name, value.option->results().back());
      out.push_back({value.row, is_switch ? std::vector<std::string>{value.is_on ? "true" : "false"} : value.texts});
    }
    return out;
  }

 private:
  struct Value {
    const FlagRow* row = nullptr;
    CLI::Option* option = nullptr;
    bool is_on = false;
    std::vector<std::string> texts;
  };
  std::deque<Value> values_;  // CLI11 keeps their addresses.
};

// The program's command line, as CLI11 knows it.
struct Parser {
  Parser() {
    app.name("distmnist");
    app.set_version_flag("--version", "distmnist " DISTMNIST_VERSION);
    app.set_config("--config");
    app.config_formatter(std::make_shared<FlatConfig>());
    app.allow_config_extras(CLI::config_extras_mode::error);
    app.require_subcommand(0, 1);
    for (const CommandRow& command : command_table()) {
      CLI::App& of_command = command.name.empty() ? app : *app.add_subcommand(command.name);
      for (const FlagRow& row : flag_table()) {
        if (row.is_for(command.command)) values[command.command].add(of_command, row);
      }
    }
  }
  Command command() const {
    const auto asked = app.get_subcommands();
    if (asked.empty()) return Command::kTrain;
    return std::ranges::find(command_table(), asked.front()->get_name(), &CommandRow::name)->command;
  }

  CLI::App app;
  std::map<Command, Values> values;
};

// Error (kUsage): one sentence that names the flag or the key, and the one that may have been meant.
void parse(CLI::App& app, const std::vector<std::string>& words) {
  std::vector<std::string> arguments(words.rbegin(), words.rend());  // CLI11 takes them from the back.
  try {
    app.parse(arguments);
  } catch (const CLI::Success&) {  // --help, --version
    throw;
  } catch (const CLI::ConfigError& error) {
    // CLI11 says "INI was not able to parse KEY" of a key that is no flag.
    const std::string_view what = error.what();
    const std::string key(what.substr(what.rfind(' ') + 1));
    fail(ExitCode::kUsage, "--config={}: '{}' is not a flag of this program{}; see distmnist --help",
         app["--config"]->as<std::string>(), key, suggestion(key, flags_of(app)));
  } catch (const CLI::FileError& error) {
    if (const auto closed = closed_folder(app["--config"]->as<std::string>()))
      fail(ExitCode::kUsage, "--config: cannot look into {}: Permission denied", closed->string());
    fail(ExitCode::kUsage, "--config: {}; name an existing file", error.what());
  } catch (const CLI::ArgumentMismatch& error) {
    // CLI11 says "--seed: At Most 1 required but received 2" of a flag that is given twice.
    const std::string what = error.what();
    if (what.find("At Most 1") == std::string::npos)
      fail(ExitCode::kUsage, "{}; see {} --help", what, asked_program(app));
    fail(ExitCode::kUsage, "{} is given more than once; give it once", what.substr(0, what.find(':')));
  } catch (const CLI::ParseError& error) {
    // A flag that is unknown is the likelier slip than one that is missing.
    if (!app.remaining(true).empty())
      fail(ExitCode::kUsage, "{}; see {} --help", describe_extra(app), asked_program(app));
    fail(ExitCode::kUsage, "{}; see {} --help", error.what(), asked_program(app));
  }
}

bool is_typed(const std::string& name, const std::vector<std::string>& words) {
  const std::string negated = "--no" + name.substr(2);
  return std::ranges::any_of(words, [&](const std::string& word) {
    const std::string flag = word.substr(0, word.find('='));
    return flag == name || flag == negated;
  });
}

// Flags in front of a command are its own, too, where it has them; so are those of a file, where they mean the same.
void take_flags_before(Parser& parser, CommandLine& line) {
  for (GivenFlag& before : parser.values[Command::kTrain].given()) {
    const std::string& name = before.row->name;
    const auto row = std::ranges::find_if(
        flag_table(), [&](const FlagRow& each) { return each.name == name && each.is_for(line.command); });
    const bool typed = is_typed(name, line.words);
    if (row == flag_table().end()) {
      if (typed) {
        fail(ExitCode::kUsage, "{} is a flag of training, and not of {}; see {} --help", name,
             asked_program(parser.app), asked_program(parser.app));
      }
      continue;
    }
    const bool is_given = std::ranges::find(line.given, &*row, &GivenFlag::row) != line.given.end();
    if (!is_given && (typed || &*row == before.row)) line.given.push_back({&*row, std::move(before.texts)});
  }
}

}  // namespace

CommandLine read_command_line(int argc, const char* const* argv) {
  Parser parser;
  CommandLine line;
  line.words = words_of(argc, argv);
  try {
    parse(parser.app, line.words);
  } catch (const CLI::CallForVersion&) {
    line.text = parser.app.version() + "\n";
  } catch (const CLI::Success&) {
    line.text = help_text(parser.command());
  }
  line.command = parser.command();
  line.given = parser.values[line.command].given();
  if (line.command != Command::kTrain && !line.text) take_flags_before(parser, line);
  return line;
}

}  // namespace distmnist
