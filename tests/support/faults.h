// Faults of the machine that a test can bring about for real: no space, no permission.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>

namespace distmnist {

// While alive, this process cannot make a file longer than `size_bytes`: the write fails with EFBIG, which is handled
// like a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t size_bytes) : old_handler_(signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{size_bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    signal(SIGXFSZ, old_handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit old_{};
  void (*old_handler_)(int);
};

// While alive, `folder` cannot be written. Root may write everywhere, so for root the process also stops being root.
class ReadOnlyFolder {
 public:
  explicit ReadOnlyFolder(const std::filesystem::path& folder) : folder_(folder), was_root_(geteuid() == 0) {
    using std::filesystem::perms;
    std::filesystem::permissions(folder_, perms::owner_read | perms::owner_exec | perms::group_read |
                                              perms::group_exec | perms::others_read | perms::others_exec);
    constexpr uid_t kNobody = 65534;
    works_ = !was_root_ || seteuid(kNobody) == 0;
  }
  ~ReadOnlyFolder() {
    if (was_root_ && seteuid(0) != 0) std::terminate();
    std::filesystem::permissions(folder_, std::filesystem::perms::owner_all);
  }
  ReadOnlyFolder(const ReadOnlyFolder&) = delete;
  ReadOnlyFolder& operator=(const ReadOnlyFolder&) = delete;

  bool works() const { return works_; }  // false: root in a container that cannot be anyone else

 private:
  std::filesystem::path folder_;
  bool was_root_;
  bool works_ = true;
};

// While alive, this process may not enter `folder`, which lies in `own_folder`, a temporary folder of the test. For
// root the process also stops being root.
class ClosedFolder {
 public:
  ClosedFolder(const std::filesystem::path& folder, const std::filesystem::path& own_folder)
      : folder_(folder), was_root_(geteuid() == 0) {
    using std::filesystem::perms;
    std::filesystem::permissions(
        own_folder, perms::owner_all | perms::group_read | perms::group_exec | perms::others_read | perms::others_exec);
    std::filesystem::permissions(folder_, perms::none);
    constexpr uid_t kNobody = 65534;
    works_ = !was_root_ || seteuid(kNobody) == 0;
  }
  ~ClosedFolder() {
    if (was_root_ && seteuid(0) != 0) std::terminate();
    std::filesystem::permissions(folder_, std::filesystem::perms::owner_all);
  }
  ClosedFolder(const ClosedFolder&) = delete;
  ClosedFolder& operator=(const ClosedFolder&) = delete;

  bool works() const { return works_; }  // false: root in a container that cannot be anyone else

 private:
  std::filesystem::path folder_;
  bool was_root_;
  bool works_ = true;
};

}  // namespace distmnist
