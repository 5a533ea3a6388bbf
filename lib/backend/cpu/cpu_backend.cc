#include "lib/backend/cpu/cpu_backend.h"

#include "lib/backend/compile_options.h"
#include "lib/backend/cpu/cpu_executor.h"
#include "lib/base/error.h"

namespace distmnist {
namespace {

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const CpuOptions& options) : options_(options) {
    if (!options.instruction_set) {
      options_.instruction_set = best_instruction_set();
    } else if (!is_supported(*options.instruction_set)) {
      fail(ExitCode::kUsage, "--instruction_set={}: this processor does not support it; the best it supports is {}",
           to_string(*options.instruction_set), to_string(best_instruction_set()));
    }
  }
  std::string name() const override { return fmt::format("cpu ({})", to_string(*options_.instruction_set)); }
  bool can_compute(const Layer&, Precision precision) const override { return precision != Precision::kTf32; }
  // Without tiles, bfloat16 is emulated in float32.
  Precision fastest_precision() const override { return has_tiles() ? Precision::kBf16 : Precision::kF32; }
  std::unique_ptr<Executor> compile(const Graph& graph, const CompileOptions& options) const override {
    check_options(graph, options);
    CompileOptions resolved = options;
    if (options.precision == Precision::kAuto) resolved.precision = fastest_precision();
    check_layers(*this, graph, resolved.precision);
    return std::make_unique<cpu::CpuExecutor>(graph, resolved, options_, has_tiles() ? &cpu::amx_kernels() : nullptr);
  }

 private:
  bool has_tiles() const { return options_.instruction_set == InstructionSet::kAmx; }

  CpuOptions options_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) {
  return std::make_unique<CpuBackend>(options);
}

}  // namespace distmnist
