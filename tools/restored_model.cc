#include "tools/restored_model.h"

#include <algorithm>

#include "lib/base/error.h"
#include "lib/supervisor/saver.h"
#include "models/models.h"
#include "tools/num_threads.h"
#include "tools/process_limits.h"

namespace distmnist {

RestoredModel restore_model(const Flags& flags, Devices& devices, std::int64_t max_batch_size) {
  require_threads(num_threads(flags, 1) + 1);
  const RestoredCheckpoint restored = read_named_run(flags.supervisor.log_dir);
  const ModelSnapshot& snapshot = restored.snapshot;
  const auto names = model_names();
  if (std::ranges::find(names, snapshot.identity.model) == names.end()) {
    fail(ExitCode::kVersion, "{} holds the model {}, which this program does not have", restored.path.string(),
         snapshot.identity.model);
  }
  RestoredModel model{make_model(snapshot.identity.model),
                      nullptr,
                      snapshot.global_step,
                      restored.path,
                      snapshot.data,
                      snapshot.data_source};
  if (describe(model.graph) != snapshot.identity.graph) {
    fail(ExitCode::kVersion, "{} holds a different {} than this program: {} there, {} here", restored.path.string(),
         snapshot.identity.model, snapshot.identity.graph, describe(model.graph));
  }
  CompileOptions options;
  options.max_batch_size = max_batch_size;
  options.threads = num_threads(flags, 1);
  model.executor = devices.make_executor(flags, local_task(), model.graph, options).executor;
  model.executor->load({0, model.graph.num_parameters}, snapshot.parameters);
  return model;
}

}  // namespace distmnist
