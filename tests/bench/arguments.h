// Arguments of benchmarks in the form --name=value, each with a default and a help text.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

namespace distmnist {

class Arguments {
 public:
  struct Option {
    std::string name, value, help;
  };

  // Ends the process for --help, and with code 2 for an unknown option.
  Arguments(int argc, char** argv, const std::string& about, std::vector<Option> options)
      : options_(std::move(options)) {
    for (int i = 1; i < argc; ++i) {
      if (std::string_view(argv[i]) == "--help") end(about, stdout, 0);
      if (!take(argv[i])) {
        fmt::print(stderr, "'{}' is not an option\n", argv[i]);
        end(about, stderr, 2);
      }
    }
  }

  const std::string& text(std::string_view name) const {
    for (const Option& option : options_) {
      if (option.name == name) return option.value;
    }
    std::abort();  // a program asks only for options that it has declared
  }
  int number(std::string_view name) const { return std::atoi(text(name).c_str()); }
  // The items between commas.
  std::vector<std::string> list(std::string_view name) const {
    std::vector<std::string> items;
    std::istringstream words(text(name));
    for (std::string item; std::getline(words, item, ',');) items.push_back(item);
    return items;
  }

 private:
  bool take(std::string_view argument) {
    for (Option& option : options_) {
      const std::string start = "--" + option.name + "=";
      if (!argument.starts_with(start)) continue;
      option.value = argument.substr(start.size());
      return true;
    }
    return false;
  }
  [[noreturn]] void end(const std::string& about, std::FILE* to, int code) const {
    fmt::print(to, "{}\n", about);
    for (const Option& option : options_) fmt::print(to, "  --{}={}  {}\n", option.name, option.value, option.help);
    std::exit(code);
  }

  std::vector<Option> options_;
};

}  // namespace distmnist
