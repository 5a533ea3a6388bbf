// InProcessClient: a client whose parameters are in this process: no sockets, no copies in between.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/optim/optimizer.h"
#include "lib/ps/client/parameter_client.h"
#include "lib/ps/records/control.h"
#include "lib/ps/store/variable_store.h"

namespace distmnist {

class InProcessClient : public ParameterClient {
 public:
  // `variables`: the ranges of the block, in order and without gaps.
  InProcessClient(std::vector<NamedRange> variables, OptimizerSpec optimizer, OnNan on_nan = OnNan::kFail)
      : variables_(std::move(variables)), optimizer_(std::move(optimizer)), on_nan_(on_nan) {}

  SessionInfo open() override;
  void create(const StoredModel& model) override;
  std::int64_t pull(ParameterSink& sink) override;
  Turn join(ParameterSink& sink) override;
  void begin_push(const Numbers& gradients, std::int64_t step, std::int64_t samples) override;
  // Checks the numbers while they are in the cache. Applying a part early would gain nothing.
  void push(Range range) override;
  void drop_push() override { dropped_ = "the loss is not finite"; }
  // Throws Error (kDiverged) for a gradient that must not be applied, and after kMaxSkippedInARow skipped pushes.
  Turn finish_push(ParameterSink& sink) override;
  std::optional<StoredModel> snapshot() override;
  bool await_others(TimeMs) override { return true; }
  void done() override {}
  void leave() override {}
  void fail_run(const std::string&) override {}

 private:
  void skip_push();

  std::vector<NamedRange> variables_;
  OptimizerSpec optimizer_;
  OnNan on_nan_;
  std::optional<VariableStore> store_;
  std::span<const float> gradients_;
  std::int64_t pushed_samples_ = 0;
  RunProgress progress_;      // that of other workers is kept for a run that has them again
  std::string dropped_;       // why the current push is not applied; empty: it is applied
  int skipped_in_a_row_ = 0;  // pushes
};

}  // namespace distmnist
