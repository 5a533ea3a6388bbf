// Cache: the folder for files that the program keeps between runs.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace distmnist {

// The user's cache. A folder is used only if no other user can write to it, because anyone with write access could
// plant data that the next run trains on.
class Cache {
 public:
  // Logs if there is no cache or it must not be used.
  Cache();

  // <cache>/<part>, which need not exist yet. Nothing if there is no cache or this folder must not be used; the reason
  // has then been logged.
  std::optional<std::filesystem::path> folder(const std::string& part) const;

 private:
  std::optional<std::filesystem::path> base_;
};

}  // namespace distmnist
