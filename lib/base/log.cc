#include "lib/base/log.h"

#include <unistd.h>

#include <memory>
#include <string>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "lib/base/terminal.h"

namespace distmnist {
namespace {

// The text between the quotes of a JSON string.
std::string json_escaped(std::string_view text) {
  std::string out;
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c < 0x20) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += static_cast<char>(c);
    }
  }
  return out;
}

class JsonMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string text = json_escaped({message.payload.data(), message.payload.size()});
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<JsonMessage>(); }
};

class LevelLetter : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    out.push_back(message.level == spdlog::level::info ? 'I' : message.level == spdlog::level::warn ? 'W' : 'E');
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<LevelLetter>(); }
};

thread_local std::string thread_task;  // empty: the process's

class TaskName : public spdlog::custom_flag_formatter {
 public:
  explicit TaskName(std::string process_task) : process_task_(std::move(process_task)) {}
  void format(const spdlog::details::log_msg&, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string& task = thread_task.empty() ? process_task_ : thread_task;
    out.append(task.data(), task.data() + task.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<TaskName>(process_task_); }

 private:
  std::string process_task_;
};

std::unique_ptr<spdlog::pattern_formatter> make_formatter(std::string_view task, LogFormat format) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<JsonMessage>('*').add_flag<LevelLetter>('&').add_flag<TaskName>('~', std::string(task));
  const std::string text = "%Y-%m-%d %H:%M:%S.%f: %& %~] %v";
  const std::string json = R"({"time":"%Y-%m-%dT%H:%M:%S.%f","level":"%&","task":"%~","message":"%*"})";
  formatter->set_pattern(std::string(line_start(STDERR_FILENO)) + (format == LogFormat::kText ? text : json));
  return formatter;
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>("distmnist", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_formatter(make_formatter("local", LogFormat::kText));
    return made;
  }();
  return *instance;
}

}  // namespace

void set_up_log(std::string_view task, LogFormat format) {
  logger().set_formatter(make_formatter(task, format));
}

LogTask::LogTask(std::string_view task) {
  thread_task = task;
}
LogTask::~LogTask() {
  thread_task.clear();
}

void log_message(LogLevel level, std::string_view message) {
  const auto to = level == LogLevel::kInfo      ? spdlog::level::info
                  : level == LogLevel::kWarning ? spdlog::level::warn
                                                : spdlog::level::err;
  logger().log(to, fmt::string_view(message.data(), message.size()));
}

}  // namespace distmnist
