// Unpacked cache: plain copies of large gzip files, so that the next start maps the data instead of decompressing it.
// Decompressing takes most of a start, and mapped pages are shared by all processes on a host.
#pragma once

#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "data/idx.h"

namespace distmnist {

// Smaller files are decompressed each time, which takes milliseconds.
inline constexpr std::size_t kWorthKeepingBytes = std::size_t{1} << 20;

// A copy belongs to one state of one file: its name depends on the file's path, size, inode number and time of last
// change. Copies that a different user owns or can write are not used. Thread-safe.
class UnpackedCache {
 public:
  // `folder` is created for this user only, when the first copy is written.
  explicit UnpackedCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // read_idx of `path`, from a complete copy if there is one. Remembers files that had to be decompressed.
  IdxArray read(const std::filesystem::path& path, IdxKind kind);

  // Writes the copies that were missing in `read`, and removes copies of earlier states of the same files. Does nothing
  // while a different process is writing. A failure is logged, and the next start decompresses again.
  void write_missing();

 private:
  struct Missing {
    std::string name;  // of the copy
    IdxArray array;
  };
  std::filesystem::path folder_;
  std::mutex mutex_;
  std::vector<Missing> missing_;
};

// Runs write_missing in its own low-priority thread. `cache` must outlive this object.
class BackgroundCopies {
 public:
  explicit BackgroundCopies(UnpackedCache& cache);

 private:
  std::jthread thread_;  // its destruction waits for the copies
};

}  // namespace distmnist
