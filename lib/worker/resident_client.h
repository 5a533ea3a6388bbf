// ResidentClient: keeps the parameters on the device that trains them; for local training with one worker.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/optim/optimizer.h"
#include "lib/ps/client/parameter_client.h"

namespace distmnist {

class ResidentClient : public ParameterSession {
 public:
  // The executor must outlive this object. It must have `num_parameters` parameters and a resident_training() that has
  // kept its samples.
  ResidentClient(Executor& executor, std::int64_t num_parameters, OptimizerSpec optimizer);

  SessionInfo open() override;
  // Loads the parameters into the executor and starts its training.
  void create(const StoredModel& model) override;

  // Both wait until the device has finished all steps passed to run(). If the sink is the executor itself, it already
  // has the parameters and nothing is copied.
  std::int64_t pull(ParameterSink& sink) override;
  std::optional<StoredModel> snapshot() override;

  // Both include the steps in progress.
  std::int64_t global_step() const { return global_step_; }
  std::int64_t consumed_samples() const { return progress_.consumed_samples.at(0); }
  // Hands these steps to the device and returns the turn that follows them. May return before they are finished.
  Turn run(const ResidentSteps& steps);
  // Waits for the last of those steps and returns its result.
  StepResult last_step();

  bool await_others(TimeMs) override { return true; }
  void done() override {}
  void leave() override {}
  void fail_run(const std::string&) override {}

 private:
  std::vector<float> parameters() const;

  Executor& executor_;
  ResidentTraining& training_;
  std::int64_t num_parameters_;
  OptimizerSpec optimizer_;
  bool has_model_ = false;
  std::int64_t global_step_ = 0;
  RunProgress progress_{0, {{0, 0}}, {}};  // that of other workers is kept for a run that has them again
};

}  // namespace distmnist
