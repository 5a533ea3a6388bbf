// distmnist inspect: what a checkpoint file holds.
#include "lib/supervisor/inspect.h"
#include "lib/base/output.h"

#include "tools/commands.h"

namespace distmnist {

ExitCode inspect_command(const Flags& flags) {
  const Inspection inspection = inspect_checkpoint(flags.checkpoint);
  for (const std::string& line : inspection.lines) print("{}\n", line);
  if (inspection.damage) throw Error(ExitCode::kData, *inspection.damage);
  return ExitCode::kOk;
}

}  // namespace distmnist
