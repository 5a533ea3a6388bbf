// distmnist verify: checks checkpoint files completely.
#include <filesystem>
#include <string>
#include <vector>

#include "lib/base/counted.h"
#include "lib/base/folder.h"
#include "lib/base/log.h"
#include "lib/base/output.h"
#include "lib/supervisor/inspect.h"
#include "lib/supervisor/saver.h"
#include "tools/commands.h"
#include "tools/flags.h"

namespace distmnist {
namespace {

// The files that a name stands for: itself, or all checkpoints of a run folder.
std::vector<std::filesystem::path> files_of(const std::string& name) {
  std::error_code ignored;  // opening the file reports it better
  if (!std::filesystem::is_directory(name, ignored)) return {name};
  std::vector<std::filesystem::path> files;
  for (const CheckpointFile& file : list_checkpoints(name)) files.push_back(file.path);
  if (files.empty()) fail(ExitCode::kData, "{} has no checkpoint (model.ckpt-*.safetensors)", name);
  return files;
}

}  // namespace

// Each file is checked, whatever is wrong with the others.
ExitCode verify_command(const Flags& flags) {
  std::int64_t valid = 0, invalid = 0;
  for (const std::string& name : flags.files.files) {
    for (const std::filesystem::path& file : files_of(name)) {
      try {
        require_open(file);
        for (const std::string& line : verify_checkpoint(file)) print("{}\n", line);
        ++valid;
      } catch (const Error& error) {
        if (error.code() != ExitCode::kData && error.code() != ExitCode::kVersion) throw;
        log_error("{}", error.what());
        ++invalid;
      }
    }
  }
  if (invalid > 0) {
    fail(ExitCode::kData, "{} not valid, {} valid", counted(invalid, "file"), counted(valid, "file"));
  }
  return ExitCode::kOk;
}

}  // namespace distmnist
