// The table of flags: what each is called, what it means, which member of Flags it is, and where else its value goes.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/ps/records/control.h"
#include "tools/flags.h"

namespace distmnist {

enum class FlagType { kSwitch, kWholeNumber, kNumber, kText, kTexts };

// Where a value goes, besides the run itself.
enum FlagUse : unsigned {
  kInConfig = 1,       // config.toml
  kInFingerprint = 2,  // what all workers of a job must agree on
  kInPreset = 4,       // the log line with the values of a preset
  kRequired = 8,       // an error if it is missing
};

struct FlagRow {
  std::string name;   // "--seed"; of an argument without a flag: "FILE"
  std::string group;  // of --help
  std::string help;   // a phrase that stands alone, with unit and default
  FlagType type = FlagType::kText;
  unsigned uses = 0;                                  // FlagUse
  std::vector<Command> commands = {Command::kTrain};  // that take it
  std::function<void(Flags&, const std::vector<std::string>&)> set;
  std::function<void(const Flags&)> check;  // Error (kUsage) if the value is out of bounds; null: no bounds
  // As it is given on a command line; nothing: not given.
  std::function<std::optional<std::string>(const Flags&)> get;
  // What it comes to with the other flags, for the fingerprint and the preset's line.
  std::function<std::string(const Flags&)> effective;

  bool is_named() const { return name.starts_with("--"); }
  bool is_for(Command command) const;
  std::string_view bare_name() const { return std::string_view(name).substr(is_named() ? 2 : 0); }
};

// All flags, in the order of --help. A name may be there more than once, for different commands.
const std::vector<FlagRow>& flag_table();

enum CommandTrait : unsigned {
  kFinishesItsWork = 1,  // on a signal; the others end at once
  kComputes = 2,         // runs oneDNN's kernels
};

struct CommandRow {
  Command command;
  std::string name;  // "evaluate"; of training: ""
  std::string help;
  ExitCode (*run)(const Flags&) = nullptr;  // null: training
  unsigned traits = 0;                      // CommandTrait
};
const std::vector<CommandRow>& command_table();
const CommandRow& row_of(Command command);

// The rows with kInFingerprint, as (name, value).
Fingerprint fingerprint_of_flags(const Flags& flags);
// "batch_size 64, train_steps 730, ...", of the rows with kInPreset.
std::string describe_preset_values(const Flags& flags);

}  // namespace distmnist
