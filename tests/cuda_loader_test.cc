// Each variant of tests/support/cuda_modules is copied under the module's name; DISTMNIST_CUDA_MODULES names their
// folder.
#include "lib/backend/cuda/loader.h"

#include <filesystem>
#include <fstream>

#include "lib/backend/cuda/module.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

namespace {

// A folder that holds `variant` as the CUDA module.
class ModuleFolder {
 public:
  explicit ModuleFolder(const std::string& variant) {
    std::filesystem::copy_file(std::filesystem::path(DISTMNIST_CUDA_MODULES) / (variant + ".so"),
                               folder_ / kCudaModuleFile);
  }
  std::string path() const { return folder_.path().string(); }

 private:
  TempDir folder_;
};

bool refuses(const std::string& folder, const std::string& text) {
  return fails_with(ExitCode::kUsage, text, [&] { load_cuda_module(folder); });
}

}  // namespace

TEST_CASE("a missing module is said with its name and what to use instead") {
  const TempDir empty;
  for (const std::string& folder : {std::string(), empty.path().string(), std::string("/no/such/folder")}) {
    CHECK(refuses(folder, "no CUDA backend (libdistmnist_cuda.so was not found"));
    CHECK(refuses(folder, "use --device=/cpu:0"));
  }
}

TEST_CASE("the gpu backend is the module's") {
  const TempDir empty;
  CHECK(fails_with(ExitCode::kUsage, "no CUDA backend", [&] { make_backend("gpu", empty.path().string()); }));
  const ModuleFolder folder("working");
  CHECK(make_backend("gpu", folder.path())->name() == "stand-in");
}

TEST_CASE("a file that is no shared object is said with the linker's reason") {
  const TempDir folder;
  std::ofstream(folder / kCudaModuleFile) << "not a shared object";
  CHECK(refuses(folder.path().string(), "cannot be loaded: " + (folder / kCudaModuleFile).string()));
}

TEST_CASE("a shared object without the entry point is refused") {
  CHECK(refuses(ModuleFolder("no_entry").path(), "has no entry point distmnist_cuda_module"));
}

TEST_CASE("a module of another interface version is refused with both versions") {
  CHECK(refuses(ModuleFolder("wrong_abi").path(), fmt::format("has interface version {} where this program needs {}",
                                                              kCudaModuleAbi + 1, kCudaModuleAbi)));
}

TEST_CASE("a module that fits is used") {
  CHECK(load_cuda_module(ModuleFolder("working").path()).inspect().fault == "a stand-in");
}
