// ModuleFolder: a folder with one of tests/support/cuda_modules in place of the CUDA module.
#pragma once

#include <filesystem>
#include <string>

#include "lib/backend/cuda/module.h"
#include "tests/support/temp_dir.h"

namespace distmnist {

class ModuleFolder {
 public:
  // `variants` is the folder in which they were built. It depends on the build folder, so meson passes it to the tests.
  ModuleFolder(const std::filesystem::path& variants, const std::string& variant) {
    std::filesystem::copy_file(variants / (variant + ".so"), folder_ / kCudaModuleFile);
  }
  std::string path() const { return folder_.path().string(); }

 private:
  TempDir folder_;
};

}  // namespace distmnist
