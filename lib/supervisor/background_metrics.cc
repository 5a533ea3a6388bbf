#include "lib/supervisor/background_metrics.h"

#include <utility>

#include "lib/base/log.h"

namespace distmnist {

BackgroundMetrics::BackgroundMetrics(std::filesystem::path file) {
  thread_.post([state = state_, file = std::move(file)] { state->writer = std::make_unique<MetricsWriter>(file); });
}

void BackgroundMetrics::append(const MetricsRow& row) {
  if (state_->waiting >= kMaxWaitingRows) {
    if (!std::exchange(dropped_, true)) {
      log_error("the disk does not take the rows of metrics.csv; {} of them wait, and further ones are lost",
                kMaxWaitingRows);
    }
    return;
  }
  ++state_->waiting;
  thread_.post([state = state_, row] {
    state->writer->append(row);
    --state->waiting;
  });
}

}  // namespace distmnist
