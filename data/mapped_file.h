// MappedFile: a file's bytes without copying them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

namespace distmnist {

// Whose files are read. What the program keeps for itself is taken from this user only: others could have prepared it.
enum class Trust {
  kAnyone,
  kThisUser,  // the file is this user's, and no other may write it
};

// A whole file mapped for reading. Its pages are shared by all processes that read it, and loaded when touched.
// The file must not be shortened while it is mapped: write a new one and rename it, as write_idx does.
class MappedFile {
 public:
  // Error (kData) names the file: missing, not a plain file, not readable, or not one that `trust` takes.
  explicit MappedFile(const std::filesystem::path& path, Trust trust = Trust::kAnyone);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::uint8_t> bytes() const { return bytes_; }

  // The pages no longer count as this process's memory; those touched later come back from the system's cache.
  void let_pages_go() const;

 private:
  std::span<const std::uint8_t> bytes_;
};

}  // namespace distmnist
