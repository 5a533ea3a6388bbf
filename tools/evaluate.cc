// distmnist evaluate: the accuracy of a run's newest checkpoint on the test images.
#include "lib/worker/evaluation.h"

#include "lib/base/log.h"
#include "lib/base/output.h"
#include "lib/supervisor/safetensors_header.h"
#include "tools/commands.h"
#include "tools/data_source.h"
#include "tools/flags.h"
#include "tools/restored_model.h"

namespace distmnist {

namespace {

// The data given by the flags, else that of the run.
LoadedData load_data_of(const RestoredModel& model, const Flags& flags) {
  if (!flags.data.data_dir.empty() || flags.data.dataset) return load_data(flags);
  if (!model.data) {
    log_warning("{} does not say which data it was trained on, like files of earlier versions; give --data_dir",
                model.path.string());
    return load_data(flags);
  }
  try {
    return load_data(with_source(flags, model.data_source));
  } catch (const Error& error) {
    if (error.code() != ExitCode::kData) throw;
    fail(ExitCode::kData,
         "{} was trained on the data \"{}\", which cannot be used: {}; if it is elsewhere now, give --data_dir",
         model.path.string(), printable(model.data_source, 500), error.what());
  }
}

// Accuracy on different data says nothing about the run.
void require_data_of(const RestoredModel& model, const LoadedData& loaded, const Flags& flags) {
  if (!model.data || flags.data.other_data) return;
  const DataIdentity here = identity_of(loaded.data);
  if (here == *model.data) return;
  fail(ExitCode::kData,
       "{} was trained on the data \"{}\" ({}), but {} is different data ({}); name the data of the run with "
       "--data_dir, or give --other_data to evaluate on this data anyway",
       model.path.string(), printable(model.data_source, 500), describe(*model.data), loaded.data.description,
       describe(here));
}

}  // namespace

ExitCode evaluate_command(const Flags& flags) {
  constexpr std::int64_t kBatch = 100;
  Devices devices(find_gpu_search());
  const RestoredModel model = restore_model(flags, devices, kBatch);
  const LoadedData loaded = load_data_of(model, flags);
  require_data_of(model, loaded, flags);
  if (loaded.data.test.image_size() != model.graph.input.size()) {
    fail(ExitCode::kData, "the model takes {} pixels per image, but {} has {}", model.graph.input.size(),
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
