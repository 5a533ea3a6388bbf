#include "lib/backend/cuda/loader.h"

#include <dlfcn.h>

#include <filesystem>
#include <memory>

#include "lib/backend/module_abi.h"
#include "lib/base/error.h"

namespace distmnist {
namespace {

struct Close {
  void operator()(void* handle) const { dlclose(handle); }
};

struct OpenedModule {
  std::string file;  // as it was given to dlopen
  std::unique_ptr<void, Close> handle;
};

// A file in `folder` is the one that is meant, even if it is broken; only where there is none the linker searches.
OpenedModule open_module(const std::string& folder) {
  OpenedModule module{.file = kCudaModuleFile, .handle = nullptr};
  if (!folder.empty()) {
    const std::filesystem::path beside = std::filesystem::path(folder) / kCudaModuleFile;
    std::error_code ignored;
    if (std::filesystem::exists(beside, ignored)) module.file = beside.string();
  }
  module.handle.reset(dlopen(module.file.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (!module.handle) {
    const char* reason = dlerror();
    fail(ExitCode::kUsage,
         "this build has no CUDA backend ({} was not found or cannot be loaded: {}); build it with -Dcuda=enabled, "
         "which needs nvcc, cuBLAS and cuDNN",
         kCudaModuleFile, reason != nullptr ? reason : "no reason given");
  }
  return module;
}

[[noreturn]] void refuse(const std::string& file, const std::string& fault) {
  fail(ExitCode::kUsage, "{} {}; use the CUDA module of this build", file, fault);
}

}  // namespace

const CudaModule& load_cuda_module(const std::string& folder) {
  OpenedModule opened = open_module(folder);
  const auto function = reinterpret_cast<CudaModuleFunction>(dlsym(opened.handle.get(), kCudaModuleSymbol));
  if (function == nullptr) refuse(opened.file, fmt::format("has no entry point {}", kCudaModuleSymbol));
  const CudaModule* module = function();
  if (module == nullptr) refuse(opened.file, "returned no table");
  if (module->abi_version != kCudaModuleAbi) {
    refuse(opened.file,
           fmt::format("has interface version {}, but this program needs {}", module->abi_version, kCudaModuleAbi));
  }
  // From here on the module's code may be in use, so it is never unloaded.
  opened.handle.release();
  return *module;
}

}  // namespace distmnist
