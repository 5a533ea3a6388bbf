#include "lib/backend/cpu/cpu_backend.h"

#include "lib/backend/compile_options.h"
#include "lib/backend/cpu/cpu_executor.h"

namespace distmnist {
namespace {

struct KernelName {
  std::string operator()(const Conv2d&) const { return "oneDNN convolution"; }
  std::string operator()(const MaxPool2d&) const { return "oneDNN pooling"; }
  std::string operator()(const AvgPool2d&) const { return "oneDNN pooling"; }
  std::string operator()(const Flatten&) const { return "oneDNN reorder"; }
  std::string operator()(const FullyConnected&) const { return "oneDNN inner product"; }
  std::string operator()(const Dropout&) const { return "own loop"; }
  std::string operator()(const Relu&) const { return "oneDNN eltwise"; }
};

class CpuBackend final : public Backend {
 public:
  std::string name() const override { return "cpu"; }
  std::optional<std::string> kernel_of(const Layer& layer, Precision precision) const override {
    if (precision == Precision::kTf32 || precision == Precision::kBf16) return std::nullopt;
    return std::visit(KernelName{}, layer);
  }
  std::unique_ptr<Executor> compile(const Graph& graph, const CompileOptions& options) const override {
    check_options(graph, options);
    check_layers(*this, graph, options.precision);
    return std::make_unique<cpu::CpuExecutor>(graph, options);
  }
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend() {
  return std::make_unique<CpuBackend>();
}

}  // namespace distmnist
