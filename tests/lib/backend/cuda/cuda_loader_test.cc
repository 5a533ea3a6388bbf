#include "lib/backend/cuda/loader.h"

#include <fstream>

#include "lib/backend/cuda/module.h"
#include "lib/backend/module_abi.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/module_folder.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

namespace {

ModuleFolder folder_of(const std::string& variant) {
  return {DISTMNIST_CUDA_MODULES, variant};
}

bool refuses(const std::string& folder, const std::string& text) {
  return fails_with(ExitCode::kUsage, text, [&] { load_cuda_module(folder); });
}

}  // namespace

TEST_CASE("a missing module is reported with its name and what to do") {
  const TempDir empty;
  for (const std::string& folder : {std::string(), empty.path().string(), std::string("/no/such/folder")}) {
    CHECK(refuses(folder, "no CUDA backend (libdistmnist_cuda.so was not found"));
    CHECK(refuses(folder, "build it with -Dcuda=enabled"));
  }
}

TEST_CASE("the gpu backend comes from the module") {
  const TempDir empty;
  CHECK(fails_with(ExitCode::kUsage, "no CUDA backend", [&] { make_backend("gpu", empty.path().string()); }));
  const ModuleFolder folder = folder_of("working");
  CHECK(make_backend("gpu", folder.path())->name() == "stand-in");
}

TEST_CASE("a file that is not a shared object is reported with the linker's reason") {
  const TempDir folder;
  std::ofstream(folder / kCudaModuleFile) << "not a shared object";
  CHECK(refuses(folder.path().string(), "cannot be loaded: " + (folder / kCudaModuleFile).string()));
}

TEST_CASE("a shared object without the entry point is refused") {
  CHECK(refuses(folder_of("no_entry").path(), "has no entry point distmnist_cuda_module"));
}

TEST_CASE("a module with a different interface version is refused with both versions") {
  CHECK(refuses(folder_of("wrong_abi").path(), fmt::format("has interface version {}, but this program needs {}",
                                                           kCudaModuleAbi + 1, kCudaModuleAbi)));
}

TEST_CASE("a module that fits is used") {
  CHECK(load_cuda_module(folder_of("working").path()).inspect().fault == "a stand-in");
}
