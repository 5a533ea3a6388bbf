// StepLoop: the inner part of a replica's training loop.
#pragma once

namespace distmnist {

class StepLoop {
 public:
  virtual ~StepLoop() = default;
  // Called when a session begins or resumes. Waits for this worker's turn and sets the step of Progress.
  virtual void begin() = 0;
  // Runs one or more steps, but not past train_steps, and reports them to Progress. Called only while the step is below
  // train_steps. Throws whatever ends training.
  virtual void advance() = 0;
};

}  // namespace distmnist
