// distmnist inspect: prints the contents of a checkpoint file.
#include "lib/supervisor/inspect.h"

#include <filesystem>

#include "lib/base/folder.h"
#include "lib/base/output.h"
#include "lib/supervisor/saver.h"
#include "tools/commands.h"
#include "tools/flags.h"

namespace distmnist {

ExitCode inspect_command(const Flags& flags) {
  std::filesystem::path file = flags.files.checkpoint;
  require_open(file);
  std::error_code ignored;  // opening the file reports it better
  if (std::filesystem::is_directory(file, ignored)) file = read_named_run(file).path;
  const Inspection inspection = inspect_checkpoint(file);
  for (const std::string& line : inspection.lines) print("{}\n", line);
  if (inspection.damage) throw Error(ExitCode::kData, *inspection.damage);
  return ExitCode::kOk;
}

}  // namespace distmnist
