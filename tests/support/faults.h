// Real faults of the machine that a test can cause: no space, no permission.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>

namespace distmnist {

// While it exists, this process cannot make a file longer than `size_bytes`: the write fails with EFBIG, which is
// handled like a full disk.
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

// While it exists, `folder` cannot be written. Root can write everywhere, so a process of root also switches to an
// ordinary user.
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

  bool works() const { return works_; }  // false: root in a container that cannot change its user

 private:
  std::filesystem::path folder_;
  bool was_root_;
  bool works_ = true;
};

// While it exists, this process cannot enter `folder`, which is in `own_folder`, a temporary folder of the test. A
// process of root also switches to an ordinary user.
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

  bool works() const { return works_; }  // false: root in a container that cannot change its user

 private:
  std::filesystem::path folder_;
  bool was_root_;
  bool works_ = true;
};

}  // namespace distmnist
