// Files: reading with a limit, and writing so that a reader, a crash or a full disk never meets half of a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/error.h"

namespace distmnist {

// An open file descriptor, closed at the end of its life. -1: none.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// The text of an errno value, "No space left on device", with the usual switch of the limit that was met, "File too
// large (see ulimit -f)". Thread-safe.
std::string errno_text(int error);

// kResources for a lack of space, quota, memory or descriptors, and for a file size limit; else `otherwise`.
ExitCode exit_code_of(int error, ExitCode otherwise);

// Opens a file for reading and gives its size in bytes. Error: kData (missing, a link that leads nowhere, unreadable,
// in a folder that may not be entered, not a regular file) or kResources, with the path and the reason.
struct InputFile {
  FileDescriptor fd;
  std::uint64_t size_bytes = 0;
  bool is_private = false;  // it is this user's, and no other may write it
};
InputFile open_for_reading(const std::filesystem::path& path);

// Fills `bytes` from `offset` of an open file. Error (kData) names the path and the offset at which the file ends
// early.
void read_at(const InputFile& file, const std::filesystem::path& path, std::uint64_t offset,
             std::span<std::byte> bytes);

// The whole file. Its size is compared with `max_size_bytes` before anything is allocated: Error (kData) names both.
std::vector<std::byte> read_file(const std::filesystem::path& path, std::uint64_t max_size_bytes);
std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_size_bytes);

// A new version of the file at `path`. It is written to a temporary file in the same folder; commit() makes it durable
// and puts it in the place of the old version in one step. Without a successful commit() the old version stays as it
// was and the temporary file is removed. One thread. Errors of every function: kResources (no space, quota, file size
// limit), kUsage (the folder is missing, read-only or not ours, a folder is in the place of the file), else kData; each
// with the path and the system's reason.
class AtomicFile {
 public:
  // `mode`: who may do what with the new file, of which the process's umask is taken away.
  explicit AtomicFile(std::filesystem::path path, unsigned mode = 0666);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  // fsync, rename, fsync of the folder. Should only the last of them fail, the new version is in place, the error says
  // so, and a power cut may still bring the old one back. Call once, last.
  void commit();

 private:
  void remove_temporary();

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  FileDescriptor fd_;
};

// AtomicFile for a text that is at hand as a whole.
void write_text_file(const std::filesystem::path& path, std::string_view text);

// Makes the names in a folder durable. Errors like AtomicFile.
void sync_folder(const std::filesystem::path& folder);

// Removes what AtomicFile of a process that died left in `folder`, and returns how many files that were. A temporary
// file of a living writer carries its lock and is left alone. A folder that cannot be read has none.
int remove_stale_temporaries(const std::filesystem::path& folder);

}  // namespace distmnist
