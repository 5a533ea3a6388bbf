#include "lib/backend/cuda/nccl.h"

#include <dlfcn.h>

#include <utility>

#include "lib/base/error.h"

namespace distmnist::cuda {
namespace {

constexpr const char* kLibrary = "libnccl.so.2";

// The part of NCCL's C interface used here (nccl.h of NCCL 2, which fixes its values). Declared here so that a build
// does not need NCCL.
using Communicator = struct ncclComm*;
constexpr int kFloat32 = 7;
constexpr int kSum = 0;

struct Functions {
  int (*get_version)(int*) = nullptr;
  int (*init_all)(Communicator*, int, const int*) = nullptr;
  int (*destroy)(Communicator) = nullptr;
  int (*group_start)() = nullptr;
  int (*group_end)() = nullptr;
  int (*all_reduce)(const void*, void*, std::size_t, int, int, Communicator, cudaStream_t) = nullptr;
  const char* (*error_string)(int) = nullptr;
};

template <typename Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

bool find_all(void* library, Functions& out) {
  return find(library, "ncclGetVersion", out.get_version) && find(library, "ncclCommInitAll", out.init_all) &&
         find(library, "ncclCommDestroy", out.destroy) && find(library, "ncclGroupStart", out.group_start) &&
         find(library, "ncclGroupEnd", out.group_end) && find(library, "ncclAllReduce", out.all_reduce) &&
         find(library, "ncclGetErrorString", out.error_string);
}

class OpenedNccl final : public Nccl {
 public:
  OpenedNccl(const Functions& functions, std::vector<Communicator> communicators)
      : functions_(functions), communicators_(std::move(communicators)) {}
  ~OpenedNccl() override {
    for (Communicator each : communicators_) functions_.destroy(each);
  }

  std::string version() const override {
    int number = 0;  // 22703 is 2.27.3
    require(functions_.get_version(&number));
    return fmt::format("{}.{}.{}", number / 10000, number / 100 % 100, number % 100);
  }
  void begin() override { require(functions_.group_start()); }
  void sum(std::size_t rank, float* numbers, std::int64_t count, cudaStream_t stream) override {
    require(functions_.all_reduce(numbers, numbers, static_cast<std::size_t>(count), kFloat32, kSum,
                                  communicators_[rank], stream));
  }
  void end() override { require(functions_.group_end()); }

 private:
  void require(int status) const {
    if (status != 0) fail(ExitCode::kInternal, "GPU: NCCL cannot sum gradients: {}", functions_.error_string(status));
  }

  Functions functions_;
  std::vector<Communicator> communicators_;
};

}  // namespace

std::unique_ptr<Nccl> Nccl::open(const std::vector<int>& devices) {
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);  // Never closed: its threads may outlive the communicators.
  Functions functions;
  if (library == nullptr || !find_all(library, functions)) return nullptr;
  std::vector<Communicator> communicators(devices.size());
  const int status = functions.init_all(communicators.data(), static_cast<int>(devices.size()), devices.data());
  if (status != 0) return nullptr;
  return std::make_unique<OpenedNccl>(functions, std::move(communicators));
}

}  // namespace distmnist::cuda
