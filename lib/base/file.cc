#include "lib/base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>

#include "lib/base/bytes.h"
#include "lib/base/folder.h"

namespace distmnist {
namespace {

constexpr std::string_view kTemporaryPrefix = ".distmnist-tmp-";
constexpr int kMaxNameAttempts = 1000;

// The exit code for a failed write: a path that can never be written means a wrong --log_dir.
ExitCode write_error_code(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
    case EEXIST:
    case ENAMETOOLONG:
    case ELOOP:
    case EXDEV:
      return ExitCode::kUsage;
    default:
      return exit_code_of(error, ExitCode::kData);
  }
}

[[noreturn]] void fail_writing(std::string_view action, const std::filesystem::path& path, int error) {
  fail(write_error_code(error), "cannot {} {}: {}", action, path.string(), errno_text(error));
}

// False if a cleaner has taken the new file for a dead writer's, which is possible between open and flock. A file
// system without locks counts as locked: a cleaner gets no lock there either.
bool is_ours(int fd) {
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false;
  struct stat status;
  return fstat(fd, &status) == 0 && status.st_nlink > 0;
}

// Throws the reason why a file could not be opened.
[[noreturn]] void fail_opening(const std::filesystem::path& path, int error) {
  if (error == EACCES) require_open(path);
  if (const auto target = broken_link(path); target && error == ENOENT) {
    fail(ExitCode::kData, "cannot read {}: it is a link to {}, which does not exist", path.string(), target->string());
  }
  fail(exit_code_of(error, ExitCode::kData), "cannot read {}: {}", path.string(), errno_text(error));
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

std::string errno_text(int error) {
  const std::string text = std::generic_category().message(error);
  switch (error) {
    case EFBIG:
      return text + " (see ulimit -f)";
    case EMFILE:
      return text + " (see ulimit -n)";
    case ENOMEM:
      return text + " (see ulimit -v, or the memory limit of the container)";
    default:
      return text;
  }
}

ExitCode exit_code_of(int error, ExitCode otherwise) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return ExitCode::kResources;
    default:
      return otherwise;
  }
}

InputFile open_for_reading(const std::filesystem::path& path) {
  // O_NONBLOCK: if a named pipe is in place of the file, opening it must not wait for a writer.
  InputFile file{.fd = FileDescriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK))};
  struct stat status;
  if (!file.fd || fstat(file.fd.get(), &status) != 0) fail_opening(path, errno);
  if (S_ISDIR(status.st_mode))
    fail(ExitCode::kData, "cannot read {}: it is a folder, not a regular file", path.string());
  if (!S_ISREG(status.st_mode)) fail(ExitCode::kData, "cannot read {}: not a regular file", path.string());
  file.size_bytes = static_cast<std::uint64_t>(status.st_size);
  file.is_private = status.st_uid == geteuid() && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
  return file;
}

void read_at(const InputFile& file, const std::filesystem::path& path, std::uint64_t offset,
             std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = pread(file.fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      fail(exit_code_of(error, ExitCode::kData), "cannot read {} at offset {}: {}", path.string(), offset,
           errno_text(error));
    }
    if (got == 0) {
      fail(ExitCode::kData, "{} ends at offset {}, {} bytes early", path.string(), offset, bytes.size());
    }
    offset += static_cast<std::uint64_t>(got);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
}

std::vector<std::byte> read_file(const std::filesystem::path& path, std::uint64_t max_size_bytes) {
  const InputFile file = open_for_reading(path);
  if (file.size_bytes > max_size_bytes) {
    fail(ExitCode::kData, "{} has {} bytes, but at most {} are expected", path.string(), file.size_bytes,
         max_size_bytes);
  }
  std::vector<std::byte> bytes(file.size_bytes);
  read_at(file, path, 0, bytes);
  return bytes;
}

std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_size_bytes) {
  return std::string(text_of(read_file(path, max_size_bytes)));
}

AtomicFile::AtomicFile(std::filesystem::path path, unsigned mode) : path_(std::move(path)) {
  static std::atomic<unsigned> counter = 0;
  for (int attempt = 0; attempt < kMaxNameAttempts; ++attempt) {
    temporary_ = parent_folder(path_) / fmt::format("{}{}-{}", kTemporaryPrefix, getpid(), counter++);
    FileDescriptor fd(open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (!fd && errno == EEXIST) continue;  // from a dead process with our number, or from a different host
    if (!fd) fail_writing("write", path_, errno);
    if (!is_ours(fd.get())) continue;
    fd_ = std::move(fd);
    return;
  }
  fail(ExitCode::kData, "cannot write {}: no free temporary name in its folder after {} attempts", path_.string(),
       kMaxNameAttempts);
}

AtomicFile::~AtomicFile() {
  remove_temporary();
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd_.get(), bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail_writing("write", path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
}

void AtomicFile::commit() {
  if (fsync(fd_.get()) != 0) fail_writing("sync", path_, errno);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail_writing("replace", path_, errno);
  temporary_.clear();
  fd_ = FileDescriptor();
  sync_folder(parent_folder(path_));
}

void AtomicFile::remove_temporary() {
  if (!temporary_.empty()) unlink(temporary_.c_str());
  temporary_.clear();
}

void write_text_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(bytes_of(text));
  file.commit();
}

void sync_folder(const std::filesystem::path& folder) {
  const FileDescriptor fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // EINVAL: a file system that does not need this for folders.
  if (!fd || (fsync(fd.get()) != 0 && errno != EINVAL)) fail_writing("sync the folder", folder, errno);
}

int remove_stale_temporaries(const std::filesystem::path& folder) {
  int removed = 0;
  std::error_code ignored;
  std::vector<std::filesystem::path> candidates;
  for (std::filesystem::directory_iterator entry(folder, ignored), end; !ignored && entry != end;
       entry.increment(ignored)) {
    if (entry->path().filename().string().starts_with(kTemporaryPrefix)) candidates.push_back(entry->path());
  }
  for (const auto& path : candidates) {
    const FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    if (fd && flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && unlink(path.c_str()) == 0) ++removed;
  }
  return removed;
}

}  // namespace distmnist
