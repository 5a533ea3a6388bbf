#include "lib/backend/cpu/cpu_backend.h"

#include "lib/backend/compile_options.h"
#include "lib/backend/cpu/amx_convolution.h"
#include "lib/backend/cpu/cpu_executor.h"
#include "lib/backend/cpu/fused_convolution.h"
#include "lib/base/error.h"

namespace distmnist {
namespace {

struct KernelName {
  bool own;
  bool has_tiles;  // AMX's
  bool rounds;     // to bfloat16
  std::string operator()(const Conv2d& layer) const {
    if (own && has_tiles && rounds && cpu::fits_tiles(layer)) {
      return "built-in convolution in AMX tiles before a 2x2 max-pool, else oneDNN";
    }
    switch (own ? cpu::fused_convolution_of(layer) : cpu::FusedConvolution::kNone) {
      case cpu::FusedConvolution::kNone:
        return "oneDNN convolution";
      case cpu::FusedConvolution::kDirect:
        return "built-in direct convolution before a 2x2 max-pool, else oneDNN";
      case cpu::FusedConvolution::kWinograd:
        return "built-in Winograd convolution before a 2x2 max-pool, else oneDNN";
    }
    return {};
  }
  std::string operator()(const MaxPool2d&) const {
    return own ? "part of its convolution, else oneDNN" : "oneDNN pooling";
  }
  std::string operator()(const AvgPool2d&) const { return "oneDNN pooling"; }
  std::string operator()(const Flatten&) const {
    return own ? "done by the convolution, else oneDNN" : "oneDNN reorder";
  }
  std::string operator()(const FullyConnected&) const {
    if (!own) return "oneDNN inner product";
    if (!has_tiles) return "built-in matrix products";
    return rounds ? "built-in matrix products in AMX tiles"
                  : "built-in matrix products in AMX tiles, with two bfloat16 for a float32";
  }
  std::string operator()(const Dropout&) const { return "built-in loop"; }
  std::string operator()(const Relu&) const { return "oneDNN eltwise"; }
};

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
  std::optional<std::string> kernel_of(const Layer& layer, Precision precision) const override {
    if (precision == Precision::kTf32) return std::nullopt;
    return std::visit(KernelName{options_.own_kernels, has_tiles(), precision == Precision::kBf16}, layer);
  }
  std::unique_ptr<Executor> compile(const Graph& graph, const CompileOptions& options) const override {
    check_options(graph, options);
    check_layers(*this, graph, options.precision);
    return std::make_unique<cpu::CpuExecutor>(graph, options, options_, has_tiles() ? &cpu::amx_kernels() : nullptr);
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
