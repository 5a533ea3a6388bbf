// ResidentClient: the parameters are on the device that trains them, in local training with one worker.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/backend/backend.h"
#include "lib/optim/optimizer.h"
#include "lib/ps/client/parameter_client.h"

namespace distmnist {

class ResidentClient : public ParameterSession {
 public:
  // The executor outlives it, has a resident_training(), which has kept its samples, and `num_parameters` parameters.
  ResidentClient(Executor& executor, std::int64_t num_parameters);

  SessionInfo open() override;
  // Loads the parameters into the executor and starts its training.
  void create(const StoredModel& model) override;

  // These wait until the device has made all steps that run() handed to it. The executor has the parameters already:
  // where it is the sink itself, nothing is copied.
  std::int64_t pull(ParameterSink& sink) override;
  StoredModel snapshot() override;

  // With the steps that are under way.
  std::int64_t global_step() const { return global_step_; }
  std::int64_t consumed_samples() const { return consumed_samples_; }
  // Hands these steps to the device and returns the turn after them, while they may still be under way.
  Turn run(const ResidentSteps& steps);
  // Waits: the result of the last of them.
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
  bool has_model_ = false;
  OptimizerSpec optimizer_;
  std::int64_t global_step_ = 0;
  std::int64_t consumed_samples_ = 0;
};

}  // namespace distmnist
