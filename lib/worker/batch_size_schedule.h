// BatchSizeSchedule: how many samples a worker's batch has, by global_step (--batch_size_schedule).
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace distmnist {

inline constexpr std::int64_t kLargestBatchSize = 1 << 20;  // samples

class BatchSizeSchedule {
 public:
  // The same size in every step.
  explicit BatchSizeSchedule(std::int64_t batch_size) : entries_{{0, batch_size}} {}

  // "0:50,1000:100,3000:200": from global_step 0 on 50 samples, from 1000 on 100, from 3000 on 200. Error (kUsage)
  // unless the steps start at 0 and rise, and each size is from 1 to kLargestBatchSize.
  static BatchSizeSchedule parse(std::string_view text);

  // Samples of a batch that is computed from the parameters of `global_step`.
  std::int64_t at(std::int64_t global_step) const;
  std::int64_t largest() const;
  // The first global_step after this one with a batch size of its own; kNoChange where none follows.
  static constexpr std::int64_t kNoChange = std::numeric_limits<std::int64_t>::max();
  std::int64_t next_change(std::int64_t global_step) const;
  // Batches from global_step 0 on until one worker alone has gone through `samples` samples.
  std::int64_t steps_for(std::int64_t samples) const;
  // The same with `factor` times as many samples.
  BatchSizeSchedule times(std::int64_t factor) const;
  // What parse() takes; a schedule of one size is that number alone.
  std::string to_string() const;

 private:
  struct Entry {
    std::int64_t from_step = 0;
    std::int64_t batch_size = 0;
  };
  explicit BatchSizeSchedule(std::vector<Entry> entries) : entries_(std::move(entries)) {}

  std::vector<Entry> entries_;  // by from_step; the first one's is 0
};

// The global_step at which one worker alone has gone `epochs` times (0 or more) through `images` images.
std::int64_t steps_of_epochs(double epochs, std::int64_t images, const BatchSizeSchedule& schedule);

}  // namespace distmnist
