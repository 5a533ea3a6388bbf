#include "lib/supervisor/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/folder.h"
#include "lib/base/log.h"

namespace distmnist {
namespace {

constexpr int kMaxOldRuns = 100'000;

[[noreturn]] void refuse(std::string_view action, const std::filesystem::path& path, int error) {
  const auto closed = error == EACCES ? closed_folder(path) : std::nullopt;
  fail(exit_code_of(error, ExitCode::kUsage), "cannot {} the run folder {}: {}{}; choose a different --log_dir", action,
       path.string(), closed ? fmt::format("cannot look into {}: ", closed->string()) : "", errno_text(error));
}

void create(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  // Several tasks may create log_dir at the same time, and a symbolic link to a folder is fine, so only the result
  // counts.
  std::error_code status_error;
  if (std::filesystem::is_directory(path, status_error)) return;
  if (std::filesystem::is_regular_file(path, status_error)) {
    fail(ExitCode::kUsage, "cannot create the run folder {}: {} but a file; choose a different --log_dir",
         path.string(), errno_text(ENOTDIR));
  }
  refuse("create", path, error ? error.value() : status_error ? status_error.value() : ENOTDIR);
}

FileDescriptor lock(const std::filesystem::path& path) {
  FileDescriptor fd(open((path / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!fd) refuse("write to", path, errno);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) refuse("lock", path, errno);
  fail(ExitCode::kConflict,
       "the run folder {} is in use by another process; choose a different --log_dir, or stop that run", path.string());
}

// old-<n> with the lowest free n.
std::filesystem::path create_old_folder(const std::filesystem::path& path) {
  for (int n = 1; n <= kMaxOldRuns; ++n) {
    const auto folder = path / fmt::format("old-{}", n);
    std::error_code error;
    if (std::filesystem::create_directory(folder, error)) return folder;
    if (error && error.value() != EEXIST) refuse("move the old run aside in", path, error.value());
  }
  fail(ExitCode::kUsage, "the run folder {} holds {} old runs; choose a different --log_dir", path.string(),
       kMaxOldRuns);
}

void move_aside(const std::filesystem::path& path) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    if (is_run_file(entry->path().filename().string())) files.push_back(entry->path());
  }
  if (error) refuse("read", path, error.value());
  if (files.empty()) return;

  const auto old_folder = create_old_folder(path);
  for (const auto& file : files) {
    std::filesystem::rename(file, old_folder / file.filename(), error);
    if (error) refuse("move the old run aside in", path, error.value());
  }
  sync_folder(old_folder);
  sync_folder(path);
  log_info("moved {} files of the old run to {}", files.size(), old_folder.string());
}

}  // namespace

std::filesystem::path task_folder(const std::filesystem::path& log_dir, const TaskId& task, bool is_chief) {
  return is_chief ? log_dir : log_dir / fmt::format("{}_{}", task.job, task.index);
}

bool is_run_file(std::string_view name) {
  static constexpr std::array<std::string_view, 3> kNames = {"config.toml", "report.html", "checkpoint"};
  return std::ranges::find(kNames, name) != kNames.end() || name.starts_with("events.out.tfevents.") ||
         (name.starts_with("metrics.") && name.ends_with(".csv")) ||
         (name.starts_with("model.ckpt-") && name.ends_with(".safetensors"));
}

RunFolder::RunFolder(std::filesystem::path path, bool fresh) : path_(std::move(path)) {
  create(path_);
  lock_ = lock(path_);
  if (fresh) move_aside(path_);
}

void RunFolder::write_config(std::string_view text) const {
  write_text_file(path_ / "config.toml", text);
}

}  // namespace distmnist
