// Reading a command line and the file of --config into flags that have been described to CLI11, and answering what does
// not fit them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace distmnist {

struct CommandLine {
  std::vector<std::string> words;   // of the command line, in one spelling
  std::optional<std::string> text;  // of --help or --version: print it and do nothing else
};

// Gives `app` the flag --config; call it where its other flags are described.
void add_config_flag(CLI::App& app);

// Sets the values that `app` has been told of. Error (kUsage): one sentence that names the flag or the key, and the one
// that may have been meant.
CommandLine read_command_line(CLI::App& app, int argc, const char* const* argv);

// The path, with the home folder in place of a leading ~ that no shell has replaced.
std::string at_home(const std::string& path);

}  // namespace distmnist
