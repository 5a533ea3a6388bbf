// The log: one line for each message on stderr, "2026-11-20 15:41:48.549266: I worker:1] message". Thread-safe.
#pragma once

#include <string_view>
#include <utility>

#include <fmt/core.h>

namespace distmnist {

enum class LogLevel { kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

// Sets the task in every later line ("worker:1", "ps:0", "local") and the format of the lines. Call once, before other
// threads start.
void set_up_log(std::string_view task, LogFormat format);

// While this object lives, lines of this thread name this task instead. For tasks that are threads of one process.
class LogTask {
 public:
  explicit LogTask(std::string_view task);
  ~LogTask();
  LogTask(const LogTask&) = delete;
  LogTask& operator=(const LogTask&) = delete;
};

void log_message(LogLevel level, std::string_view message);

template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace distmnist
