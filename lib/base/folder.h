// Folders: what lies in one, why one cannot be looked into, and whether one is this user's alone.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace distmnist {

// The folder that a path is in; "." of a plain name.
std::filesystem::path parent_folder(const std::filesystem::path& path);

// The path without a slash at its end, so that a file is recognized as one.
std::filesystem::path without_slash(const std::filesystem::path& path);

// The target of a symbolic link whose target does not exist; nothing if `path` exists, or is not a link.
std::optional<std::filesystem::path> broken_link(const std::filesystem::path& path);

// The folder that keeps this process from looking at `path`: one on the way to it (symbolic links are followed), or
// `path` itself where it is a folder that may not be entered. Nothing: no permission is missing.
std::optional<std::filesystem::path> closed_folder(const std::filesystem::path& path);

// Error (kData) "cannot look into P: Permission denied" where closed_folder(path) is P.
void require_open(const std::filesystem::path& path);

enum class EntryKind { kFile, kFolder, kDanglingLink };

struct FolderEntry {
  std::string name;
  EntryKind kind = EntryKind::kFile;  // of what a link leads to; pipes and the like count as files
};

// What lies in `folder`, sorted by name. Error (kData) "cannot look into P: reason": it is missing, no folder, may not
// be read (then P is the folder that may not), or the disk fails.
std::vector<FolderEntry> list_folder(const std::filesystem::path& folder);

// Why `folder` is not this user's alone, "belongs to another user (uid 0)" or "can be written by others"; nothing where
// it is, or where it is missing and would be made in a folder of this user's or root's. A link is taken for the folder
// that it leads to.
std::optional<std::string> why_not_private(const std::filesystem::path& folder);

// Makes the folder and its missing parents, for this user alone (mode 0700). A failure is no error: writing into the
// folder says it better.
void create_private_folders(const std::filesystem::path& folder);

}  // namespace distmnist
