// What is done to the words of a command line before and after they are read as flags.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace distmnist {

// kSwitch: --fresh; kValue: --model=mlp or --model mlp; kNumber: a value that cannot be empty.
enum class FlagKind { kUnknown, kSwitch, kValue, kNumber };

// The words in one spelling: "--task-index=1" becomes "--task_index=1", and "--log_dir=" becomes "--log_dir" and "", so
// that an empty value stays one. `kind_of` is asked for a flag's name with its dashes. Error (kUsage): a flag that
// takes a value and is followed by a flag, or a switch or a number with an empty value.
std::vector<std::string> normalised(const std::vector<std::string>& words,
                                    const std::function<FlagKind(const std::string&)>& kind_of);

// The name that differs least from `text`, where the difference is that of a slip: a letter in three at most. Dashes in
// front, and - for _, do not count.
std::optional<std::string> nearest_name(std::string_view text, const std::vector<std::string>& names);

// "~" or "~/x" with the home folder in place of the ~, as the shell has it at the beginning of a word; other paths, and
// all paths where there is no home, stay as they are.
std::string expand_home(const std::string& path, const std::string& home);

// The text of a configuration file as TOML has it: without a byte order mark, and with \n at the ends of lines. Error
// (kUsage): it is UTF-16.
std::string plain_config_text(std::string_view text);

}  // namespace distmnist
