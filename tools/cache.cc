#include "tools/cache.h"

#include "lib/base/folder.h"
#include "lib/base/log.h"
#include "tools/environment.h"

namespace distmnist {
namespace {

bool may_be_used(const std::filesystem::path& folder) {
  const auto why_not = why_not_private(folder);
  if (why_not) {
    log_warning("the cache {} {}, so it is not used; choose a different place with $XDG_CACHE_HOME", folder.string(),
                *why_not);
  }
  return !why_not;
}

}  // namespace

Cache::Cache() : base_(cache_folder()) {
  if (!base_) {
    log_info("no $HOME and no home in the password file: nothing is kept for the next run");
  } else if (!may_be_used(*base_)) {
    base_.reset();
  }
}

std::optional<std::filesystem::path> Cache::folder(const std::string& part) const {
  if (!base_ || !may_be_used(*base_ / part)) return std::nullopt;
  return *base_ / part;
}

}  // namespace distmnist
