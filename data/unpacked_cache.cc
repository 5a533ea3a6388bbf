#include "data/unpacked_cache.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/folder.h"
#include "lib/base/log.h"
#include "lib/base/low_priority.h"
#include "lib/base/random.h"

namespace distmnist {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kHashCharacters = 16;

// Distinguishes the few files of one user. It is not collision-resistant against chosen names.
std::string hash_of(std::string_view text) {
  std::uint64_t hash = text.size();
  for (const char character : text) hash = mix64(hash ^ static_cast<unsigned char>(character));
  return fmt::format("{:0{}x}", hash, kHashCharacters);
}

// "<file>-<state>", the name of the copy; nullopt if the file cannot be examined. The state includes the time of the
// inode's last change, which a user who rewrites the file cannot reset.
std::optional<std::string> name_of_copy(const fs::path& path) {
  std::error_code error;
  const fs::path whole = fs::canonical(path, error);
  struct stat info {};
  if (error || stat(whole.c_str(), &info) != 0) return std::nullopt;
  return fmt::format(
      "{}-{}", hash_of(whole.string()),
      hash_of(fmt::format("{} {} {}.{}", info.st_ino, info.st_size, info.st_ctim.tv_sec, info.st_ctim.tv_nsec)));
}

bool looks_like_gzip(const fs::path& path) {
  const InputFile file = open_for_reading(path);
  std::array<std::byte, 2> magic{};
  if (file.size_bytes < magic.size()) return false;
  read_at(file, path, 0, magic);
  return magic[0] == std::byte{0x1f} && magic[1] == std::byte{0x8b};
}

std::optional<IdxArray> read_copy(const fs::path& copy, IdxKind kind) {
  std::error_code ignored;
  if (!fs::exists(copy, ignored)) return std::nullopt;
  try {
    return read_idx(copy, kind, Trust::kThisUser);
  } catch (const Error&) {
    return std::nullopt;  // It will be rewritten.
  }
}

void remove_former_states(const fs::path& folder, std::string_view name) {
  const std::string_view file = name.substr(0, kHashCharacters + 1);
  std::error_code ignored;
  for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    const std::string other = entry->path().filename().string();
    std::error_code stays;  // A process that has it mapped keeps it.
    if (other.starts_with(file) && other != name) fs::remove(entry->path(), stays);
  }
}

}  // namespace

IdxArray UnpackedCache::read(const fs::path& path, IdxKind kind) {
  if (!looks_like_gzip(path)) return read_idx(path, kind);
  // The state is read before the file: if the file is replaced in between, the copy gets a name that is never used.
  const std::optional<std::string> name = name_of_copy(path);
  if (name) {
    if (auto copy = read_copy(folder_ / *name, kind)) return *std::move(copy);
  }
  IdxArray array = read_idx(path, kind);
  if (name && array.data.size() >= kWorthKeepingBytes) {
    const std::lock_guard lock(mutex_);
    missing_.push_back({*name, array});
  }
  return array;
}

void UnpackedCache::write_missing() {
  std::vector<Missing> missing;
  {
    const std::lock_guard lock(mutex_);
    missing.swap(missing_);
  }
  if (missing.empty()) return;
  try {
    create_private_folders(folder_);
    const FileDescriptor lock(open((folder_ / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (lock && flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return;
    remove_stale_temporaries(folder_);
    for (const Missing& file : missing) {
      write_idx(folder_ / file.name, file.array.dimensions, file.array.data);
      remove_former_states(folder_, file.name);
    }
  } catch (const Error& error) {
    log_info("the unpacked data is not kept for the next start: {}", error.what());
  }
}

BackgroundCopies::BackgroundCopies(UnpackedCache& cache)
    : thread_([&cache] { work_in_background("keeping the unpacked data", [&] { cache.write_missing(); }); }) {}

}  // namespace distmnist
