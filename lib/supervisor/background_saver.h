// BackgroundSaver: writes checkpoints in its own thread, so that training waits only while the block is copied.
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

// Thread-safe. At most one snapshot is being written and one waits; a newer snapshot replaces the waiting one.
class BackgroundSaver {
 public:
  // `saver` must outlive this object and must not be used by anything else meanwhile.
  explicit BackgroundSaver(Saver& saver);
  // Writes all submitted snapshots, then joins the thread.
  ~BackgroundSaver();
  BackgroundSaver(const BackgroundSaver&) = delete;
  BackgroundSaver& operator=(const BackgroundSaver&) = delete;

  // Never waits for the disk, and never throws because of it: a failure is logged as an error, older checkpoints stay,
  // and the next snapshot is tried as usual.
  void submit(ModelSnapshot snapshot);

  // Waits until all submitted snapshots are on disk or have failed. Returns the error if the newest one failed; at the
  // end of a run, its exit code becomes that of the run.
  std::optional<Error> flush();

  struct Status {
    std::int64_t saves = 0;                 // files written
    std::int64_t failures = 0;              // snapshots that could not be written
    std::int64_t replaced = 0;              // snapshots replaced by a newer one before they were written
    std::optional<std::int64_t> last_step;  // the global_step of the newest file written
    std::optional<Error> last_error;        // of the newest attempt; empty if it succeeded
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
  std::thread thread_;  // last because it uses the members above
};

}  // namespace distmnist
