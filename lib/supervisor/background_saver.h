// BackgroundSaver: writes checkpoints in a thread of its own, so that training waits no longer than a copy of the
// block.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "lib/base/error.h"
#include "lib/supervisor/model_snapshot.h"
#include "lib/supervisor/saver.h"

namespace distmnist {

// Thread-safe. At most one snapshot is being written and one waits; a newer one takes the place of the one that waits.
class BackgroundSaver {
 public:
  // `saver` must outlive this object, which alone uses it meanwhile.
  explicit BackgroundSaver(Saver& saver);
  // Writes what was submitted, then ends the thread.
  ~BackgroundSaver();
  BackgroundSaver(const BackgroundSaver&) = delete;
  BackgroundSaver& operator=(const BackgroundSaver&) = delete;

  // Never waits for the disk and never throws for it: a failure is logged as an error, the older checkpoints stay, and
  // the next snapshot is tried like any other.
  void submit(ModelSnapshot snapshot);

  // Waits until all that was submitted is on the disk or has failed. A failure of the newest one is returned: at the
  // end of a run its exit code is the run's.
  std::optional<Error> flush();

  struct Status {
    std::int64_t saves = 0;                 // files written
    std::int64_t failures = 0;              // snapshots that could not be written
    std::int64_t replaced = 0;              // snapshots that a newer one replaced before their turn
    std::optional<std::int64_t> last_step;  // the global_step of the newest file written
    std::optional<Error> last_error;        // of the newest attempt; none where it succeeded
  };
  Status status() const;

 private:
  void run();
  void save(const ModelSnapshot& snapshot);

  Saver& saver_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<ModelSnapshot> pending_;
  bool busy_ = false;
  bool stopping_ = false;
  Status status_;
  std::thread thread_;  // last: it uses the members above
};

}  // namespace distmnist
