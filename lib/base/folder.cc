#include "lib/base/folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace distmnist {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLinks = 40;  // the limit of Linux

std::optional<fs::path> closed_on_the_way(const fs::path& path, int links_left) {
  fs::path prefix;
  for (const fs::path& part : path) {
    if (part.empty()) continue;  // after a trailing slash
    prefix /= part;
    struct stat status;
    if (lstat(prefix.c_str(), &status) != 0)
      return errno == EACCES ? std::optional(parent_folder(prefix)) : std::nullopt;
    if (!S_ISLNK(status.st_mode) || links_left == 0) continue;
    std::error_code error;
    const fs::path target = fs::read_symlink(prefix, error);
    if (error) continue;
    // An absolute target replaces the path before it.
    if (auto closed = closed_on_the_way(parent_folder(prefix) / target, links_left - 1)) return closed;
  }
  return std::nullopt;
}

EntryKind kind_of(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) return EntryKind::kFolder;
  const bool leads_nowhere = status.type() == fs::file_type::not_found || error.value() == ELOOP;
  return leads_nowhere ? EntryKind::kDanglingLink : EntryKind::kFile;
}

[[noreturn]] void fail_to_look(const fs::path& folder, int error) {
  if (error == EACCES) require_open(folder);
  fail(exit_code_of(error, ExitCode::kData), "cannot look into {}: {}", folder.string(), errno_text(error));
}

}  // namespace

fs::path parent_folder(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

fs::path without_slash(const fs::path& path) {
  return path.has_filename() || !path.has_relative_path() ? path : path.parent_path();
}

std::optional<fs::path> broken_link(const fs::path& path) {
  std::error_code error;
  if (fs::exists(path, error)) return std::nullopt;
  fs::path target = fs::read_symlink(path, error);
  return error ? std::nullopt : std::optional(std::move(target));
}

std::optional<fs::path> closed_folder(const fs::path& path) {
  if (auto closed = closed_on_the_way(path, kMaxLinks)) return closed;
  std::error_code ignored;
  if (fs::is_directory(path, ignored) && faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) != 0 && errno == EACCES) {
    return path;
  }
  return std::nullopt;
}

void require_open(const fs::path& path) {
  if (const auto closed = closed_folder(path)) {
    fail(ExitCode::kData, "cannot look into {}: {}", closed->string(), errno_text(EACCES));
  }
}

std::vector<FolderEntry> list_folder(const fs::path& folder) {
  std::vector<FolderEntry> entries;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    entries.push_back({entry->path().filename().string(), kind_of(entry->path())});
  }
  if (error) fail_to_look(folder, error.value());
  std::ranges::sort(entries, {}, &FolderEntry::name);
  return entries;
}

std::optional<std::string> why_not_private(const fs::path& folder) {
  struct stat status;
  if (stat(folder.c_str(), &status) == 0) {
    if (status.st_uid != geteuid()) return fmt::format("belongs to another user (uid {})", status.st_uid);
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) return "can be written by others (chmod go-w prevents this)";
    return std::nullopt;
  }
  // What root creates in a user's folder, that user could no longer use.
  for (fs::path parent = folder; parent.has_relative_path();) {
    parent = parent_folder(parent);
    if (stat(parent.c_str(), &status) != 0) continue;
    if (status.st_uid == geteuid() || status.st_uid == 0) return std::nullopt;
    return fmt::format("would be made in {}, which belongs to another user (uid {})", parent.string(), status.st_uid);
  }
  return std::nullopt;
}

void create_private_folders(const fs::path& folder) {
  if (folder.empty() || mkdir(folder.c_str(), S_IRWXU) == 0 || errno != ENOENT || !folder.has_parent_path()) return;
  create_private_folders(folder.parent_path());
  mkdir(folder.c_str(), S_IRWXU);
}

}  // namespace distmnist
