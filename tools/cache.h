// Where the program keeps files between runs.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace distmnist {

// The user's cache. A folder is used only if no one else can write to it, because anyone who can could put data there
// that the next run trains on.
class Cache {
 public:
  // Says so in the log where there is none, or where it may not be used.
  Cache();

  // <cache>/<part>, which need not be there yet. Nothing where there is no cache or this folder may not be used; the
  // log has said why.
  std::optional<std::filesystem::path> folder(const std::string& part) const;

 private:
  std::optional<std::filesystem::path> base_;
};

}  // namespace distmnist
