// Arguments: processing of command-line words before and after they are read as flags.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace distmnist {

// kSwitch: --fresh; kValue: --model=mlp or --model mlp; kNumber: a value that cannot be empty.
enum class FlagKind { kUnknown, kSwitch, kValue, kNumber };

// Normalises the spelling: "--task-index=1" becomes "--task_index=1", and "--log_dir=" becomes "--log_dir" and "",
// which preserves the empty value. `kind_of` is called with a flag's name including its dashes. Error (kUsage): a flag
// that takes a value is followed by another flag, or a switch or number has an empty value.
std::vector<std::string> normalised(const std::vector<std::string>& words,
                                    const std::function<FlagKind(const std::string&)>& kind_of);

// The name closest to `text`, if the difference is small enough for a typo: at most one letter in three. Leading
// dashes, and - instead of _, do not count.
std::optional<std::string> nearest_name(std::string_view text, const std::vector<std::string>& names);

// Replaces the ~ in "~" or "~/x" with the home folder, as the shell does at the start of a word. Other paths are
// unchanged, and all paths are unchanged if there is no home.
std::string expand_home(const std::string& path, const std::string& home);

// A configuration file's text as TOML requires it: no byte order mark, and lines that end in
// . Error (kUsage) if it is UTF-16.
std::string plain_config_text(std::string_view text);

}  // namespace distmnist
