// InProcessClient: the parameters are in this process: no sockets, no copies on the way.
#pragma once

#include <optional>
#include <vector>

#include "lib/ps/parameter_client.h"
#include "lib/ps/variable_store.h"

namespace distmnist {

class InProcessClient : public ParameterClient {
 public:
  // `variables`: the ranges of the block, in order, without holes.
  explicit InProcessClient(std::vector<Range> variables) : variables_(std::move(variables)) {}

  SessionInfo open() override;
  void create(const StoredModel& model) override;
  std::int64_t pull(const ParameterSink& sink) override;
  Turn join(const ParameterSink& sink) override;
  void begin_push(std::span<const float> gradients, std::int64_t step, std::int64_t samples) override;
  void push(Range) override {}  // Nothing is gained by applying a part early.
  Turn finish_push(const ParameterSink& sink) override;
  StoredModel snapshot() override;
  bool await_others(TimeMs) override { return true; }
  void done() override {}
  void leave() override {}

 private:
  std::vector<Range> variables_;
  std::optional<VariableStore> store_;
  std::span<const float> gradients_;
  std::int64_t pushed_samples_ = 0;
  std::int64_t consumed_samples_ = 0;
};

}  // namespace distmnist
