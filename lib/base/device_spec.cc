#include "lib/base/device_spec.h"

#include <cctype>
#include <charconv>

#include "lib/base/error.h"

namespace distmnist {
namespace {

constexpr std::string_view kExample = "write for example /gpu:0, /cpu:0 or /job:worker/task:1/gpu:0";
constexpr std::string_view kTypes[] = {"CPU", "GPU", "REFERENCE"};

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> pieces;
  while (true) {
    const std::size_t end = text.find(separator);
    pieces.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return pieces;
    text.remove_prefix(end + 1);
  }
}

// "gpu" -> "GPU"; empty if no device type has this name.
std::optional<std::string> device_type(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (const std::string_view type : kTypes) {
    if (upper == type) return upper;
  }
  return std::nullopt;
}

// Parses one device name; `text_` keeps the whole text for messages.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  DeviceSpec parse() {
    for (const std::string_view part : split(text_, '/')) {
      if (!part.empty()) parse_part(part);
    }
    if (spec_ == DeviceSpec{}) fail(ExitCode::kUsage, "'{}' does not name a device: {}", text_, kExample);
    return spec_;
  }

 private:
  void parse_part(std::string_view part) {
    const std::vector<std::string_view> fields = split(part, ':');
    if (fields.size() == 2 && fields[0] == "job") return set_job(part, fields[1]);
    if (fields.size() == 2 && fields[0] == "replica") return set(spec_.replica, part, number(part, fields[1]));
    if (fields.size() == 2 && fields[0] == "task") return set(spec_.task, part, number(part, fields[1]));
    if (fields.size() <= 2 && device_type(fields[0]))
      return set_device(part, fields[0], fields.size() == 2 ? fields[1] : "*");
    if ((fields.size() == 2 || fields.size() == 3) && fields[0] == "device") {
      return set_device(part, fields[1], fields.size() == 3 ? fields[2] : "*");
    }
    fail(ExitCode::kUsage, "'{}' is not a device: part '{}' is not understood; {}", text_, part, kExample);
  }

  void set_job(std::string_view part, std::string_view job) {
    if (job.empty()) fail(ExitCode::kUsage, "'{}' is not a device: the job has no name; {}", text_, kExample);
    set(spec_.job, part, std::optional(std::string(job)));
  }

  void set_device(std::string_view part, std::string_view type, std::string_view index) {
    const std::optional<std::string> known = device_type(type);
    if (!known) fail(ExitCode::kUsage, "'{}' is not a device: there is no device type '{}'; {}", text_, type, kExample);
    if (spec_.type) refuse_second(part);
    spec_.type = known;
    spec_.index = number(part, index);
  }

  // Empty for "*".
  std::optional<int> number(std::string_view part, std::string_view digits) const {
    if (digits == "*") return std::nullopt;
    int value = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value < 0) {
      fail(ExitCode::kUsage, "'{}' is not a device: '{}' of '{}' is not a number from 0; {}", text_, digits, part,
           kExample);
    }
    return value;
  }

  template <typename T>
  void set(std::optional<T>& field, std::string_view part, std::optional<T> value) const {
    if (field) refuse_second(part);
    field = std::move(value);
  }

  [[noreturn]] void refuse_second(std::string_view part) const {
    fail(ExitCode::kUsage, "'{}' is not a device: '{}' repeats what an earlier part has set; {}", text_, part,
         kExample);
  }

  std::string_view text_;
  DeviceSpec spec_;
};

}  // namespace

std::string DeviceSpec::to_string() const {
  std::string text;
  if (job) text += "/job:" + *job;
  if (replica) text += fmt::format("/replica:{}", *replica);
  if (task) text += fmt::format("/task:{}", *task);
  if (type) text += fmt::format("/device:{}:{}", *type, index ? std::to_string(*index) : "*");
  return text;
}

DeviceSpec DeviceSpec::completed_by(const DeviceSpec& defaults) const {
  DeviceSpec full = *this;
  if (!full.job) full.job = defaults.job;
  if (!full.replica) full.replica = defaults.replica;
  if (!full.task) full.task = defaults.task;
  if (!full.type) full.type = defaults.type;
  if (!full.index && full.type == defaults.type) full.index = defaults.index;
  return full;
}

DeviceSpec parse_device(std::string_view text) {
  return Parser(text).parse();
}

std::vector<DeviceSpec> parse_device_list(std::string_view text) {
  std::vector<DeviceSpec> devices;
  for (const std::string_view name : split(text, ',')) devices.push_back(parse_device(name));
  return devices;
}

}  // namespace distmnist
