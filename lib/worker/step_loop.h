// StepLoop: how a replica makes its steps: the inside of the training loop.
#pragma once

namespace distmnist {

class StepLoop {
 public:
  virtual ~StepLoop() = default;
  // A session begins, or goes on after it was lost: waits for this worker's turn, and tells progress the step.
  virtual void begin() = 0;
  // One step or several, not beyond train_steps; its progress has counted and reported them. Called until progress has
  // reached train_steps, which it has not yet. Whatever ends training is thrown.
  virtual void advance() = 0;
};

}  // namespace distmnist
