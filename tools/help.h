// The text of --help, made of the table of flags.
#pragma once

#include <string>

#include "tools/flag_table.h"

namespace distmnist {

inline constexpr std::size_t kHelpColumns = 100;

// Of the program, or of one of its commands. No line is longer than kHelpColumns.
std::string help_text(Command command);

}  // namespace distmnist
