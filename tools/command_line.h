// Reading a command line and the file of --config into the flags that are given, and answering what does not fit.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/flag_table.h"

namespace distmnist {

struct GivenFlag {
  const FlagRow* row = nullptr;
  std::vector<std::string> texts;  // its value; of kTexts any number, else one
};

struct CommandLine {
  Command command = Command::kTrain;
  std::vector<GivenFlag> given;     // on the command line or in the file, in the order of the table
  std::vector<std::string> words;   // of the command line, in one spelling
  std::optional<std::string> text;  // of --help or --version: print it and do nothing else
};

// Error (kUsage): one sentence that names the flag or the key, and the one that may have been meant. What values mean
// is not looked at.
CommandLine read_command_line(int argc, const char* const* argv);

// The path, with the home folder in place of a leading ~ that no shell has replaced.
std::string at_home(const std::string& path);

}  // namespace distmnist
