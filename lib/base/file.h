// Files: reading with a limit, and writing that never shows half a file to a reader, even after a crash or on a full
// disk.
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

// An open file descriptor, closed by the destructor. -1: none.
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

// The text of an errno value, "No space left on device". For a limit that was reached, it names the usual command to
// change it, "File too large (see ulimit -f)". Thread-safe.
std::string errno_text(int error);

// kResources for a lack of space, quota, memory or descriptors, and for a file size limit; otherwise `otherwise`.
ExitCode exit_code_of(int error, ExitCode otherwise);

// Opens a file for reading and returns its size in bytes. Throws Error: kData (missing, a broken link, unreadable, in a
// folder that may not be entered, not a regular file) or kResources, with the path and the reason.
struct InputFile {
  FileDescriptor fd;
  std::uint64_t size_bytes = 0;
  bool is_private = false;  // owned by this user and not writable by others
};
InputFile open_for_reading(const std::filesystem::path& path);

// Fills `bytes` from `offset` in an open file. If the file ends early, throws Error (kData) with the path and the
// offset of its end.
void read_at(const InputFile& file, const std::filesystem::path& path, std::uint64_t offset,
             std::span<std::byte> bytes);

// The whole file. Compares its size with `max_size_bytes` before anything is allocated: Error (kData) names both.
std::vector<std::byte> read_file(const std::filesystem::path& path, std::uint64_t max_size_bytes);
std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_size_bytes);

// A new version of the file at `path`. It is written to a temporary file in the same folder; commit() makes it durable
// and replaces the old version in one step. Without a successful commit() the old version is unchanged and the
// temporary file is removed. Not thread-safe. Every function may throw Error: kResources (no space, quota, file size
// limit), kUsage (the folder is missing, read-only or not ours, or a folder is in place of the file), otherwise kData;
// each with the path and the system's reason.
class AtomicFile {
 public:
  // `mode`: the permissions of the new file, to which the process's umask applies.
  explicit AtomicFile(std::filesystem::path path, unsigned mode = 0666);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  // fsync, rename, fsync of the folder. If only the last one fails, the new version is in place, the error says so, and
  // a power failure may still restore the old one. Call once, last.
  void commit();

 private:
  void remove_temporary();

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  FileDescriptor fd_;
};

// Writes a complete text with AtomicFile.
void write_text_file(const std::filesystem::path& path, std::string_view text);

// Makes the names in a folder durable. Throws as AtomicFile does.
void sync_folder(const std::filesystem::path& folder);

// Removes files that AtomicFile left in `folder` when its process died, and returns their number. The temporary file of
// a live writer is locked and is not removed. Returns 0 for a folder that cannot be read.
int remove_stale_temporaries(const std::filesystem::path& folder);

}  // namespace distmnist
