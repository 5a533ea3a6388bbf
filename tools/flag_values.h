// Values of flags as text: read_value() and text_of() for each type that a flag may have.
#pragma once

#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/join.h"
#include "tools/flags.h"

namespace distmnist {

// The words for the values of an enumeration, in the order of messages.
template <class T>
struct Words;
template <class T>
struct Word {
  std::string_view word;
  T value;
};
template <>
struct Words<DatasetChoice> {
  static constexpr Word<DatasetChoice> all[] = {{"mnist", DatasetChoice::kMnist},
                                                {"synthetic", DatasetChoice::kSynthetic}};
};
template <>
struct Words<Replication> {
  static constexpr Word<Replication> all[] = {{"between_graph", Replication::kBetweenGraph},
                                              {"in_graph", Replication::kInGraph}};
};
template <>
struct Words<PinChoice> {
  static constexpr Word<PinChoice> all[] = {{"auto", PinChoice::kAuto}, {"none", PinChoice::kNone}};
};
template <>
struct Words<ProgressChoice> {
  static constexpr Word<ProgressChoice> all[] = {
      {"auto", ProgressChoice::kAuto}, {"plain", ProgressChoice::kPlain}, {"none", ProgressChoice::kNone}};
};
template <>
struct Words<LogFormat> {
  static constexpr Word<LogFormat> all[] = {{"text", LogFormat::kText}, {"json", LogFormat::kJson}};
};
template <>
struct Words<OnLostWorker> {
  static constexpr Word<OnLostWorker> all[] = {
      {"wait", OnLostWorker::kWait}, {"shrink", OnLostWorker::kShrink}, {"fail", OnLostWorker::kFail}};
};
template <>
struct Words<OnNan> {
  static constexpr Word<OnNan> all[] = {{"fail", OnNan::kFail}, {"skip", OnNan::kSkip}};
};
template <>
struct Words<VariableAction> {
  static constexpr Word<VariableAction> all[] = {{"init", VariableAction::kInit},
                                                 {"get", VariableAction::kGet},
                                                 {"add", VariableAction::kAdd},
                                                 {"list", VariableAction::kList}};
};
// The libraries read and name these themselves.
template <>
struct Words<OptimizerKind> {
  static constexpr auto read = parse_optimizer;
};
template <>
struct Words<LearningRateSchedule> {
  static constexpr auto read = parse_learning_rate_schedule;
};
template <>
struct Words<Precision> {
  static constexpr auto read = parse_precision;
};
template <>
struct Words<WireDtype> {
  static constexpr auto read = parse_wire_dtype;
};
template <>
struct Words<PlacementPolicy> {
  static constexpr auto read = parse_placement;
};
template <>
struct Words<Augmentation> {
  static constexpr auto read = parse_augmentation;
};

// "a, b or c"
template <class T>
std::string choices_of() {
  std::vector<std::string> words;
  for (const auto& each : Words<T>::all) words.emplace_back(each.word);
  return join_choices(words);
}

template <class T>
concept Integer = std::is_integral_v<T> && !std::is_same_v<T, bool>;

// ---- Reading; Error (kUsage) names the flag and the text ----

inline void read_value(const std::string& flag, const std::string& text, bool& value) {
  if (text != "true" && text != "false") fail(ExitCode::kUsage, "{}={}: true or false", flag, text);
  value = text == "true";
}

// A whole decimal number that fits T.
template <Integer T>
void read_value(const std::string& flag, const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && !text.empty()) return;
  if (error == std::errc::result_out_of_range) {
    fail(ExitCode::kUsage, "{}={}: too large or too small; at most {} is possible", flag, text,
         std::numeric_limits<T>::max());
  }
  fail(ExitCode::kUsage, "{}={}: not a whole number{}", flag, text, std::is_unsigned_v<T> ? " from 0 up" : "");
}

inline void read_value(const std::string& flag, const std::string& text, double& value) {
  const std::size_t sign =
      text.starts_with('+') && !text.starts_with("+-") ? 1 : 0;  // TOML has it, from_chars does not.
  const auto [end, error] = std::from_chars(text.data() + sign, text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && !text.empty()) return;
  fail(ExitCode::kUsage, "{}={}: not a number", flag, text);
}

inline void read_value(const std::string&, const std::string& text, std::string& value) {
  value = text;
}

template <class T>
requires std::is_enum_v<T>
void read_value(const std::string& flag, const std::string& text, T& value) {
  if constexpr (requires { Words<T>::read; }) {
    value = Words<T>::read(text);
  } else {
    for (const auto& each : Words<T>::all) {
      if (each.word == text) return void(value = each.value);
    }
    fail(ExitCode::kUsage, "{}={}: choose {}", flag, text, choices_of<T>());
  }
}

inline void read_value(const std::string& flag, const std::string& text, StalenessRule& value) {
  constexpr std::string_view kDrop = "drop:";
  value = {};
  if (text == "keep") return;
  value.policy = text == "scale" ? StalenessPolicy::kScale : StalenessPolicy::kDrop;
  if (text == "scale") return;
  const char* const end = text.data() + text.size();
  if (text.starts_with(kDrop)) {
    const auto [parsed_to, error] = std::from_chars(text.data() + kDrop.size(), end, value.drop_above);
    if (error == std::errc() && parsed_to == end && value.drop_above >= 0) return;
  }
  fail(ExitCode::kUsage, "{}={}: choose keep, scale or drop:K, where K is a whole number from 0 up", flag, text);
}

inline void read_value(const std::string&, const std::string& text, BatchSizeSchedule& value) {
  value = BatchSizeSchedule::parse(text);
}

inline void read_value(const std::string&, const std::string& text, DeviceSpec& value) {
  value = parse_device(text);
}

inline void read_value(const std::string&, const std::string& text, std::vector<DeviceSpec>& value) {
  value = text.empty() ? std::vector<DeviceSpec>() : parse_device_list(text);
}

// An empty text takes back a device or a schedule that a file has given.
template <class T>
void read_value(const std::string& flag, const std::string& text, std::optional<T>& value) {
  constexpr bool empty_is_none = std::is_same_v<T, DeviceSpec> || std::is_same_v<T, BatchSizeSchedule>;
  const bool is_auto = std::is_same_v<T, InstructionSet> && text == "auto";
  if (is_auto || (empty_is_none && text.empty())) return value.reset();
  if constexpr (std::is_same_v<T, InstructionSet>) {
    value = parse_instruction_set(text);
  } else if constexpr (std::is_same_v<T, BatchSizeSchedule>) {
    value = BatchSizeSchedule::parse(text);
  } else {
    read_value(flag, text, value.emplace());
  }
}

// ---- Writing: what read_value() takes; nothing: not given ----

inline std::optional<std::string> text_of(bool value) {
  return value ? "true" : "false";
}
template <class T>
requires Integer<T> || std::is_same_v<T, double> std::optional<std::string> text_of(T value) {
  return fmt::format("{}", value);
}
inline std::optional<std::string> text_of(const std::string& value) {
  return value.empty() ? std::nullopt : std::optional(value);
}
template <class T>
requires std::is_enum_v<T> std::optional<std::string> text_of(T value) {
  if constexpr (requires { Words<T>::read; } || std::is_same_v<T, InstructionSet>) {
    return std::string(to_string(value));
  } else {
    for (const auto& each : Words<T>::all) {
      if (each.value == value) return std::string(each.word);
    }
    return std::nullopt;
  }
}
inline std::optional<std::string> text_of(const StalenessRule& value) {
  if (value.policy == StalenessPolicy::kDrop) return fmt::format("drop:{}", value.drop_above);
  return value.policy == StalenessPolicy::kKeep ? "keep" : "scale";
}
inline std::optional<std::string> text_of(const BatchSizeSchedule& value) {
  const std::string text = value.to_string();
  return text.find(':') == text.npos ? "0:" + text : text;  // Of one size it is that number alone.
}
inline std::optional<std::string> text_of(const DeviceSpec& value) {
  return value.to_string();
}
inline std::optional<std::string> text_of(const std::vector<DeviceSpec>& value) {
  std::vector<std::string> names;
  for (const DeviceSpec& device : value) names.push_back(device.to_string());
  return names.empty() ? std::nullopt : std::optional(join(names, ","));
}
template <class T>
std::optional<std::string> text_of(const std::optional<T>& value) {
  if constexpr (std::is_same_v<T, InstructionSet>) {
    return value ? std::string(to_string(*value)) : "auto";
  } else if constexpr (std::is_same_v<T, std::string>) {
    return value;
  } else {
    return value ? text_of(*value) : std::nullopt;
  }
}

}  // namespace distmnist
