// BackgroundMetrics: a MetricsWriter with its own thread, so that training never waits for the disk.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <memory>

#include "lib/base/side_thread.h"
#include "lib/supervisor/metrics_writer.h"

namespace distmnist {

// Rows that wait for a disk that does not answer. Beyond this number they are dropped.
inline constexpr std::size_t kMaxWaitingRows = 100'000;

class BackgroundMetrics {
 public:
  explicit BackgroundMetrics(std::filesystem::path file);
  // Waits until the rows are written, for at most SideThread::kPartingMs.
  ~BackgroundMetrics() = default;

  void append(const MetricsRow& row);

 private:
  // Belongs to the thread as well, which may be abandoned.
  struct State {
    std::unique_ptr<MetricsWriter> writer;  // only for the thread
    std::atomic<std::size_t> waiting = 0;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
  bool dropped_ = false;
  SideThread thread_;
};

}  // namespace distmnist
