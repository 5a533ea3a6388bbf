// Console: the lines scripts rely on, on stdout, and a progress line for people on stderr.
#pragma once

#include <cstdint>
#include <string>

namespace distmnist {

enum class ProgressStyle {
  kLine,   // one line that is rewritten, for a terminal
  kPlain,  // a log line now and then
  kNone,
};

class Console {
 public:
  // `train_steps`: where the run ends, for the time left.
  Console(int task_index, ProgressStyle progress, std::int64_t train_steps);
  ~Console() { clear(); }

  void batch_accuracy(std::int64_t step, double accuracy);  // Worker : 0, Step: 100, Accuracy (batch): 0.9800
  void test_accuracy(double accuracy);                      // Test-Accuracy: 0.9871
  void closing_line(double accuracy, std::int64_t step);    // test_accuracy=0.9871 global_step=5000

  // Called after every step; shows something at most twice a second (a line) or every ten seconds (plain).
  void progress(std::int64_t step, double loss);
  // Global steps a second since the first call of progress(); 0 before the second one.
  double steps_per_second() const { return rate_; }
  // Takes the rewritten line away, before something else is written to the terminal.
  void clear();

 private:
  void print(const std::string& line);

  int task_index_;
  ProgressStyle style_;
  std::int64_t train_steps_;
  double first_s_ = 0, last_shown_s_ = 0;
  std::int64_t first_step_ = -1;
  double rate_ = 0;
  bool line_shown_ = false;
};

}  // namespace distmnist
