// BackgroundSaver: writes checkpoints in its own thread, so that training waits only while the block is copied,
// whatever the disk does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "lib/base/error.h"
#include "lib/base/side_thread.h"
#include "lib/base/wait_limits.h"
#include "lib/supervisor/model_snapshot.h"
#include "lib/supervisor/saver.h"

namespace distmnist {

// Thread-safe. At most one snapshot is being written and one waits; a newer snapshot replaces the waiting one.
class BackgroundSaver {
 public:
  // `stop_requested` is polled while waiting for the disk; it may be empty. `queue` writes the files.
  BackgroundSaver(Saver saver, WaitLimits limits, std::function<bool()> stop_requested = {},
                  std::unique_ptr<WorkQueue> queue = std::make_unique<SideThread>());
  // Waits for the disk for at most disk_ms.
  ~BackgroundSaver();
  BackgroundSaver(const BackgroundSaver&) = delete;
  BackgroundSaver& operator=(const BackgroundSaver&) = delete;

  // Never waits for the disk, and never throws because of it: a failure is logged as an error, older checkpoints stay,
  // and the next snapshot is tried as usual.
  void submit(ModelSnapshot snapshot);

  // Waits until all submitted snapshots are on disk or have failed. Returns the error if the newest one failed; at the
  // end of a run, its exit code becomes that of the run. A disk that does not answer for disk_ms is reported; after
  // recovery_wait_ms, or disk_ms once a stop is requested, this returns Error (kLostPeer).
  std::optional<Error> flush();

  // Reads the newest file that was written back from the disk, every byte of it. The error if it is not readable.
  std::optional<Error> read_back();

  // Saver::restore_newest, after all submitted snapshots. Errors as above, and those of the Saver.
  std::optional<ModelSnapshot> restore_newest(const ModelIdentity& flags);

  struct Status {
    std::int64_t saves = 0;                 // files written
    std::int64_t failures = 0;              // snapshots that could not be written
    std::int64_t replaced = 0;              // snapshots replaced by a newer one before they were written
    std::optional<std::int64_t> last_step;  // the global_step of the newest file written
    std::optional<Error> last_error;        // of the newest attempt; empty if it succeeded
  };
  Status status() const;

 private:
  // Belongs to the thread as well, which may be abandoned.
  struct State {
    explicit State(Saver&& from) : saver(std::move(from)) {}
    void save_pending();
    void save(const ModelSnapshot& snapshot);
    void note_failure(std::optional<Error> error);

    Saver saver;  // only for the thread
    std::mutex mutex;
    std::optional<ModelSnapshot> pending;
    Status status;
  };
  // The error if the disk does not answer.
  std::optional<Error> wait_for_disk(const char* what);

  WaitLimits limits_;
  std::function<bool()> stop_requested_;
  std::shared_ptr<State> state_;
  std::unique_ptr<WorkQueue> queue_;
  bool gave_up_ = false;  // the disk has not answered in time
};

}  // namespace distmnist
