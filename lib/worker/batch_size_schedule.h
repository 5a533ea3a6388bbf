// BatchSizeSchedule: a worker's batch size as a function of global_step (--batch_size_schedule).
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
  // The same size for every step.
  explicit BatchSizeSchedule(std::int64_t batch_size) : entries_{{0, batch_size}} {}

  // Parses "0:50,1000:100,3000:200": 50 samples from global_step 0, 100 from 1000, 200 from 3000. Error (kUsage) unless
  // the steps start at 0 and increase, and each size is between 1 and kLargestBatchSize.
  static BatchSizeSchedule parse(std::string_view text);

  // The size, in samples, of a batch computed from the parameters of `global_step`.
  std::int64_t at(std::int64_t global_step) const;
  std::int64_t largest() const;
  // The first later global_step at which a new entry starts; kNoChange if there is none.
  static constexpr std::int64_t kNoChange = std::numeric_limits<std::int64_t>::max();
  std::int64_t next_change(std::int64_t global_step) const;
  // The number of batches, from global_step 0, after which a single worker has processed `samples` samples.
  std::int64_t steps_for(std::int64_t samples) const;
  // The same schedule with every batch size multiplied by `factor`.
  BatchSizeSchedule times(std::int64_t factor) const;
  // The format of parse(); a schedule with one size is just that number.
  std::string to_string() const;

 private:
  struct Entry {
    std::int64_t from_step = 0;
    std::int64_t batch_size = 0;
  };
  explicit BatchSizeSchedule(std::vector<Entry> entries) : entries_(std::move(entries)) {}

  std::vector<Entry> entries_;  // sorted by from_step; the first is 0
};

// The global_step at which a single worker has made `epochs` (0 or more) passes over `images` images.
std::int64_t steps_of_epochs(double epochs, std::int64_t images, const BatchSizeSchedule& schedule);

}  // namespace distmnist
