#include "lib/worker/batch_size_schedule.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <utility>

#include "lib/base/error.h"

namespace distmnist {
namespace {

constexpr double kMostSamples = 9007199254740992.0;  // 2^53: a double represents every integer up to it

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
  fail(ExitCode::kUsage, "--batch_size_schedule={}: {}; write global_step:batch_size pairs like 0:50,1000:100", text,
       why);
}

// The integer in `part`, one piece of the schedule `text`.
std::int64_t number_of(std::string_view part, std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
  if (error != std::errc() || end != part.data() + part.size()) {
    refuse(text, fmt::format("'{}' is not a whole number", part));
  }
  return value;
}

}  // namespace

BatchSizeSchedule BatchSizeSchedule::parse(std::string_view text) {
  std::vector<Entry> entries;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view pair = text.substr(begin, end - begin);
    const std::size_t colon = pair.find(':');
    if (colon == std::string_view::npos) refuse(text, fmt::format("'{}' has no colon", pair));
    const Entry entry{number_of(pair.substr(0, colon), text), number_of(pair.substr(colon + 1), text)};
    if (entry.batch_size < 1 || entry.batch_size > kLargestBatchSize) {
      refuse(text, fmt::format("a batch has 1 to {} samples, not {}", kLargestBatchSize, entry.batch_size));
    }
    if (entries.empty() && entry.from_step != 0) {
      refuse(text, fmt::format("it starts at global_step {}, not at 0", entry.from_step));
    }
    if (!entries.empty() && entry.from_step <= entries.back().from_step) {
      refuse(text, fmt::format("global_step {} comes after {}", entry.from_step, entries.back().from_step));
    }
    entries.push_back(entry);
    begin = end + 1;
  }
  return BatchSizeSchedule(std::move(entries));
}

std::int64_t BatchSizeSchedule::at(std::int64_t global_step) const {
  const auto next = std::ranges::upper_bound(entries_, global_step, {}, &Entry::from_step);
  return next == entries_.begin() ? next->batch_size : std::prev(next)->batch_size;
}

std::int64_t BatchSizeSchedule::next_change(std::int64_t global_step) const {
  const auto next = std::ranges::upper_bound(entries_, global_step, {}, &Entry::from_step);
  return next == entries_.end() ? kNoChange : next->from_step;
}

std::int64_t BatchSizeSchedule::largest() const {
  return std::ranges::max_element(entries_, {}, &Entry::batch_size)->batch_size;
}

std::int64_t BatchSizeSchedule::steps_for(std::int64_t samples) const {
  for (auto entry = entries_.begin();; ++entry) {
    const std::int64_t steps = (samples + entry->batch_size - 1) / entry->batch_size;
    const auto next = std::next(entry);
    if (next == entries_.end() || steps <= next->from_step - entry->from_step) return entry->from_step + steps;
    samples -= (next->from_step - entry->from_step) * entry->batch_size;
  }
}

BatchSizeSchedule BatchSizeSchedule::times(std::int64_t factor) const {
  BatchSizeSchedule out = *this;
  for (Entry& entry : out.entries_) entry.batch_size *= factor;
  return out;
}

std::string BatchSizeSchedule::to_string() const {
  if (entries_.size() == 1) return std::to_string(entries_.front().batch_size);
  std::string out;
  for (const Entry& entry : entries_) {
    out += fmt::format("{}{}:{}", out.empty() ? "" : ",", entry.from_step, entry.batch_size);
  }
  return out;
}

std::int64_t steps_of_epochs(double epochs, std::int64_t images, const BatchSizeSchedule& schedule) {
  // Rounded because 0.07 * 100 is slightly more than 7.
  return schedule.steps_for(std::llround(std::min(epochs * static_cast<double>(images), kMostSamples)));
}

}  // namespace distmnist
