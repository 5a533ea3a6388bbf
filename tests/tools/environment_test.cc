#include "tools/environment.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/catch.h"

using namespace distmnist;

namespace {

// Null means not set.
void set(const char* name, const char* value) {
  if (value == nullptr) {
    unsetenv(name);
  } else {
    setenv(name, value, 1);
  }
}

std::optional<std::filesystem::path> cache_with(const char* xdg, const char* home) {
  set("XDG_CACHE_HOME", xdg);
  set("HOME", home);
  return cache_folder();
}

}  // namespace

TEST_CASE("the cache is in XDG_CACHE_HOME, else in HOME, else in the password file's home; paths are absolute") {
  CHECK(cache_with("/x", "/home/a") == "/x/distmnist");
  const passwd* const user = getpwuid(geteuid());
  REQUIRE(user != nullptr);
  const std::filesystem::path own = std::filesystem::path(user->pw_dir) / ".cache" / "distmnist";
  for (const char* none : {static_cast<const char*>(nullptr), "", "relative", "./x"}) {
    CHECK(cache_with(none, "/home/a") == "/home/a/.cache/distmnist");
    CHECK(cache_with(nullptr, none) == own);
  }
}

TEST_CASE("an empty CUDA_VISIBLE_DEVICES, or one that starts with -1, hides all GPUs") {
  CHECK(hides_all_gpus(""));
  CHECK(hides_all_gpus("-1"));
  CHECK(hides_all_gpus("-1,0"));
}

TEST_CASE("without CUDA_VISIBLE_DEVICES, or if it names GPUs, some GPUs are visible") {
  CHECK_FALSE(hides_all_gpus(nullptr));
  CHECK_FALSE(hides_all_gpus("0"));
  CHECK_FALSE(hides_all_gpus("1,-1"));
  CHECK_FALSE(hides_all_gpus("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"));
}
