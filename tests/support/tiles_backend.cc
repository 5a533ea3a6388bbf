#include "tests/support/tiles_backend.h"

#include "lib/backend/compile_options.h"
#include "lib/backend/cpu/cpu_backend.h"
#include "lib/backend/cpu/cpu_executor.h"

namespace distmnist {
namespace {

class TilesBackend final : public Backend {
 public:
  std::string name() const override { return "cpu (amx in loops)"; }
  bool can_compute(const Layer& layer, Precision precision) const override {
    return make_cpu_backend({})->can_compute(layer, precision);
  }
  std::unique_ptr<Executor> compile(const Graph& graph, const CompileOptions& options) const override {
    check_options(graph, options);
    return std::make_unique<cpu::CpuExecutor>(graph, options, CpuOptions{.instruction_set = best_instruction_set()},
                                              &cpu::emulated_amx_kernels());
  }
};

}  // namespace

std::unique_ptr<Backend> make_tiles_backend() {
  return std::make_unique<TilesBackend>();
}

}  // namespace distmnist
