#include "lib/backend/cpu/cpu_backend.h"

#include "lib/backend/compile_options.h"
#include "lib/backend/cpu/cpu_executor.h"

namespace distmnist {
namespace {

class CpuBackend final : public Backend {
 public:
  std::string name() const override { return "cpu"; }
  std::unique_ptr<Executor> compile(const Graph& graph, const CompileOptions& options) const override {
    check_options(graph, options);
    return std::make_unique<cpu::CpuExecutor>(graph, options);
  }
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend() {
  return std::make_unique<CpuBackend>();
}

}  // namespace distmnist
