// What the process finds around it: folders for caches, the program's own folder. The only code that reads the
// environment.
#pragma once

#include <filesystem>
#include <string>

namespace distmnist {

// $XDG_CACHE_HOME/distmnist, ~/.cache/distmnist, or a folder below /tmp where there is no home.
std::filesystem::path cache_folder();

// The folder of the running executable.
std::filesystem::path program_folder();

// A script that is installed with the program or lies in its source tree. Error (kUsage) where it is not found.
std::filesystem::path find_script(const std::string& name);

// Cores this process may use, at least 1.
int num_cores();

// The most memory this process has had resident so far, in MB (10^6 bytes).
double peak_memory_mb();

}  // namespace distmnist
