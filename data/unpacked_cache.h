// Plain copies of large gzip files, so that the next start maps the data instead of decompressing it: that takes most
// of a start, and mapped pages are shared by all processes of a host.
#pragma once

#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "data/idx.h"

namespace distmnist {

// Smaller files are unpacked each time: that takes milliseconds.
inline constexpr std::size_t kWorthKeepingBytes = std::size_t{1} << 20;

// A copy belongs to one state of one file: it is named by the file's path, size, number and time of last change. Copies
// that another user owns or may write are not used. Thread-safe.
class UnpackedCache {
 public:
  // `folder` is made when the first copy is written, for this user alone.
  explicit UnpackedCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // read_idx of `path`, from its copy where there is a whole one. What had to be unpacked is remembered.
  IdxArray read(const std::filesystem::path& path, IdxKind kind);

  // Writes the copies that `read` has missed, and removes those of the same files' former states. Nothing is written
  // while another process does so. A failure is logged: the next start unpacks again.
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

// Runs write_missing on a thread of its own, at a low priority. `cache` must outlive this object.
class BackgroundCopies {
 public:
  explicit BackgroundCopies(UnpackedCache& cache);

 private:
  std::jthread thread_;  // waits for the copies when destroyed
};

}  // namespace distmnist
