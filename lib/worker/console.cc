#include "lib/worker/console.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include <fmt/core.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/output.h"
#include "lib/base/terminal.h"

namespace distmnist {
namespace {

constexpr double kLineEveryS = 0.5;
constexpr double kPlainEveryS = 10;

std::string time_left(double seconds) {
  const auto whole = static_cast<long>(seconds + 0.5);
  return whole >= 3600 ? fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
                       : fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

Console::Console(int task_index, ProgressStyle progress, std::int64_t train_steps)
    : task_index_(task_index), style_(progress), train_steps_(train_steps) {}

void Console::batch_accuracy(std::int64_t step, double accuracy) {
  print(fmt::format("Worker : {}, Step: {}, Accuracy (batch): {:.4f}\n", task_index_, step, accuracy));
}

void Console::test_accuracy(double accuracy) {
  print(fmt::format("Test-Accuracy: {:.4f}\n", accuracy));
}

void Console::closing_line(double accuracy, std::int64_t step) {
  print(fmt::format("test_accuracy={:.4f} global_step={}\n", accuracy, step));
}

void Console::progress(std::int64_t step, double loss) {
  const double now = monotonic_s();
  if (first_step_ < 0) {
    first_step_ = step;
    first_s_ = last_shown_s_ = now;
    return;
  }
  rate_ = static_cast<double>(step - first_step_) / std::max(now - first_s_, 1e-9);
  const double every = style_ == ProgressStyle::kLine ? kLineEveryS : kPlainEveryS;
  if (style_ == ProgressStyle::kNone || now - last_shown_s_ < every) return;
  last_shown_s_ = now;
  const double left_s = static_cast<double>(train_steps_ - step) / std::max(rate_, 1e-9);
  std::string text = fmt::format("step {}/{}, {:.1f} steps/s, loss {:.4f}, {} left", step, train_steps_, rate_, loss,
                                 time_left(std::max(left_s, 0.0)));
  if (style_ == ProgressStyle::kPlain) return log_info("{}", text);
  // A line as wide as the terminal would wrap.
  if (const std::size_t columns = terminal_columns(STDERR_FILENO); columns > 0)
    text.resize(std::min(text.size(), columns - 1));
  // "\033[K" clears what a longer line left behind.
  fmt::print(stderr, "\r{}\033[K", text);
  std::fflush(stderr);
  line_shown_ = true;
}

void Console::clear() {
  if (!line_shown_) return;
  line_shown_ = false;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
}

void Console::print(const std::string& line) {
  clear();
  write_output(std::string(line_start(STDOUT_FILENO)) + line);
}

}  // namespace distmnist
