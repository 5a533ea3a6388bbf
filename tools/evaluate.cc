// distmnist evaluate: how good the newest checkpoint of a run is on the test images.
#include "lib/base/output.h"
#include "lib/worker/evaluation.h"

#include "tools/commands.h"
#include "tools/data_source.h"
#include "tools/restored_model.h"

namespace distmnist {

ExitCode evaluate_command(const Flags& flags) {
  constexpr std::int64_t kBatch = 100;
  const LoadedData loaded = load_data(flags);
  Devices devices(find_gpu_search());
  const RestoredModel model = restore_model(flags, devices, kBatch);
  if (loaded.data.test.image_size() != model.graph.input.size()) {
    fail(ExitCode::kData, "the model takes {} pixels per image, {} has {}", model.graph.input.size(),
         loaded.data.description, loaded.data.test.image_size());
  }
  const Evaluation evaluation = evaluate(*model.executor, loaded.data.test, kBatch, model.graph.output().size());
  print("{}: global_step {}, {} test images\n", model.path.string(), model.global_step, evaluation.count);
  for (const std::string& line : confusion_table(evaluation)) print("{}\n", line);
  print("Test-Loss: {:.4f}\nTest-Accuracy: {:.4f}\n", evaluation.loss, evaluation.accuracy);
  print("test_accuracy={:.4f} global_step={}\n", evaluation.accuracy, model.global_step);
  return ExitCode::kOk;
}

}  // namespace distmnist
