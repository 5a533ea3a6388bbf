// ModuleFolder: a folder that holds a stand-in of tests/support/cuda_modules as the CUDA module.
#pragma once

#include <filesystem>
#include <string>

#include "lib/backend/cuda/module.h"
#include "tests/support/temp_dir.h"

namespace distmnist {

class ModuleFolder {
 public:
  // `variants` is where they were built; it depends on the build folder, so meson tells it to the tests.
  ModuleFolder(const std::filesystem::path& variants, const std::string& variant) {
    std::filesystem::copy_file(variants / (variant + ".so"), folder_ / kCudaModuleFile);
  }
  std::string path() const { return folder_.path().string(); }

 private:
  TempDir folder_;
};

}  // namespace distmnist
