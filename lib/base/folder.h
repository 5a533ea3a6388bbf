// Folders: the entries of one, why one cannot be read, and whether one is private to this user.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace distmnist {

// The folder that contains a path; "." for a plain name.
std::filesystem::path parent_folder(const std::filesystem::path& path);

// The path without a trailing slash, so that a file is recognized as one.
std::filesystem::path without_slash(const std::filesystem::path& path);

// The target of a symbolic link whose target does not exist; empty if `path` exists or is not a link.
std::optional<std::filesystem::path> broken_link(const std::filesystem::path& path);

// The folder that prevents this process from accessing `path`: one on the way to it (symbolic links are followed), or
// `path` itself if it is a folder that may not be entered. Empty if no permission is missing.
std::optional<std::filesystem::path> closed_folder(const std::filesystem::path& path);

// Throws Error (kData) "cannot look into P: Permission denied" if closed_folder(path) is P.
void require_open(const std::filesystem::path& path);

enum class EntryKind { kFile, kFolder, kDanglingLink };

struct FolderEntry {
  std::string name;
  EntryKind kind = EntryKind::kFile;  // of a link's target; pipes and the like count as files
};

// The entries of `folder`, sorted by name. Throws Error (kData) "cannot look into P: reason" if it is missing, not a
// folder or may not be read (then P is the folder that denies access), or if the disk fails.
std::vector<FolderEntry> list_folder(const std::filesystem::path& folder);

// Why `folder` is not private to this user, "belongs to another user (uid 0)" or "can be written by others". Empty if
// it is, or if it is missing and would be created in a folder of this user or root. A link counts as the folder that it
// leads to.
std::optional<std::string> why_not_private(const std::filesystem::path& folder);

// Creates the folder and its missing parents with mode 0700. A failure is not an error: writing to the folder then
// reports it better.
void create_private_folders(const std::filesystem::path& folder);

}  // namespace distmnist
