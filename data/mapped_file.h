// MappedFile: the bytes of a file, without copying them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

namespace distmnist {

// Whose files are accepted. The program's own cached files must belong to this user, because other users could have
// tampered with them.
enum class Trust {
  kAnyone,
  kThisUser,  // owned by this user and not writable by others
};

// A whole file mapped for reading. Its pages are shared by all processes that read it and loaded on first access. The
// file must not be truncated while it is mapped: write a new one and rename it, as write_idx does.
class MappedFile {
 public:
  // Error (kData) gives the file: missing, not a regular file, unreadable, or not accepted by `trust`.
  explicit MappedFile(const std::filesystem::path& path, Trust trust = Trust::kAnyone);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::uint8_t> bytes() const { return bytes_; }

  // Releases the pages from this process's memory; later accesses reload them from the page cache.
  void let_pages_go() const;

 private:
  std::span<const std::uint8_t> bytes_;
};

}  // namespace distmnist
