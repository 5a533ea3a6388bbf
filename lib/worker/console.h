// Console: the lines on stdout that scripts parse, and a progress line on stderr for people.
#pragma once

#include <cstdint>
#include <string>

namespace distmnist {

enum class ProgressStyle {
  kLine,   // one line that is overwritten, for a terminal
  kPlain,  // an occasional log line
  kNone,
};

class Console {
 public:
  // `train_steps`: the last step of the run, used to estimate the remaining time.
  Console(int task_index, ProgressStyle progress, std::int64_t train_steps);
  ~Console() { clear(); }

  void batch_accuracy(std::int64_t step, double accuracy);  // Worker : 0, Step: 100, Accuracy (batch): 0.9800
  void test_accuracy(double accuracy);                      // Test-Accuracy: 0.9871
  void closing_line(double accuracy, std::int64_t step);    // test_accuracy=0.9871 global_step=5000

  // Call after every step. Prints at most every half second (kLine) or every ten seconds (kPlain).
  void progress(std::int64_t step, double loss);
  // Global steps per second since the first call of progress(); 0 before the second call.
  double steps_per_second() const { return rate_; }
  // Erases the progress line. Call before writing anything else to the terminal.
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
