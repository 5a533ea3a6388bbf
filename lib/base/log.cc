#include "lib/base/log.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "lib/base/terminal.h"

namespace distmnist {
namespace {

// The number of bytes in the UTF-8 character (RFC 3629) at the start of `text`, which is not empty; 0 if there is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t size = lead >= 0xc2 && lead <= 0xdf   ? 2
                           : (lead & 0xf0) == 0xe0        ? 3
                           : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                          : 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogate halves, and values above U+10FFFF.
  const bool wrong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f) ||
                     (lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f);
  return wrong ? 0 : size;
}

// Whether a text whose first character has `length` bytes starts with one that a terminal may obey instead of showing:
// U+0080 to U+009F, which some terminals treat as 0x1b and a letter, line ends, and changes of direction.
bool is_unseen(std::string_view text, std::size_t length) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (length == 2) return byte(0) == 0xc2 && byte(1) < 0xa0;
  if (length != 3 || byte(0) != 0xe2) return false;
  return (byte(1) == 0x80 && byte(2) >= 0xa8 && byte(2) <= 0xae) ||  // U+2028 to U+202E
         (byte(1) == 0x81 && byte(2) >= 0xa6 && byte(2) <= 0xa9);    // U+2066 to U+2069
}

// The text between the quotes of a JSON string. It is valid UTF-8 for any input bytes: paths and host names may have
// any.
std::string json_escaped(std::string_view text) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD
  std::string out;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const auto c = static_cast<unsigned char>(text.front());
    if (length == 0) {
      out += kReplacement;
    } else if (is_unseen(text, length)) {
      const auto low = [&](std::size_t i) { return static_cast<unsigned>(text[i]) & 0x3f; };
      out += fmt::format("\\u{:04x}", length == 2 ? 0x80 | low(1) : 0x2000 | low(1) << 6 | low(2));
    } else if (length > 1) {
      out += text.substr(0, length);
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c < 0x20) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += static_cast<char>(c);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
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

// Control characters of a path must not reach the terminal, and a message must be one line.
class TextMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    std::string_view text(message.payload.data(), message.payload.size());
    while (!text.empty()) {
      const std::size_t length = utf8_length(text);
      const auto byte = static_cast<unsigned char>(text.front());
      const bool control = length == 1   ? byte < 0x20 || byte == 0x7f
                           : length == 0 ? byte < 0xa0  // Not UTF-8; in other encodings 0x80 to 0x9f are controls.
                                         : is_unseen(text, length);
      for (const char c : text.substr(0, std::max<std::size_t>(length, 1))) {
        if (!control) {
          out.push_back(c);
        } else {
          fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
        }
      }
      text.remove_prefix(std::max<std::size_t>(length, 1));
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<TextMessage>(); }
};

class LevelLetter : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    out.push_back(message.level == spdlog::level::info ? 'I' : message.level == spdlog::level::warn ? 'W' : 'E');
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<LevelLetter>(); }
};

thread_local std::string thread_task;  // empty: the process's task

class TaskName : public spdlog::custom_flag_formatter {
 public:
  TaskName(std::string process_task, LogFormat format) : process_task_(std::move(process_task)), format_(format) {}
  void format(const spdlog::details::log_msg&, const std::tm&, spdlog::memory_buf_t& out) override {
    std::string task = thread_task.empty() ? process_task_ : thread_task;
    if (format_ == LogFormat::kJson) task = json_escaped(task);
    out.append(task.data(), task.data() + task.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<TaskName>(process_task_, format_);
  }

 private:
  std::string process_task_;
  LogFormat format_;
};

std::unique_ptr<spdlog::pattern_formatter> make_formatter(std::string_view task, LogFormat format) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<TextMessage>('_').add_flag<JsonMessage>('*').add_flag<LevelLetter>('&').add_flag<TaskName>(
      '~', std::string(task), format);
  const std::string text = "%Y-%m-%d %H:%M:%S.%f: %& %~] %_";
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
