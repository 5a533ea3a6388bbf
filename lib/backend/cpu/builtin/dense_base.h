// DenseBase: the common part of all implementations of a fully connected layer.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/backend/cpu/layer_kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

// Tensors as in make_dense(). In resident training, the weights are updated as their gradient is computed.
class DenseBase : public LayerKernel {
 public:
  DenseBase(const LayerContext& context, const FullyConnected& layer, const LayerPlace& place);

  void backward(const Step& step) final;
  void add_choices(std::vector<LayerChoices>& choices) const final;

 protected:
  // Called with the output's gradient, after ReLU's backward pass.
  virtual void prepare_gradient() {}
  // dx [batch, in] = dy W, if the input needs it
  virtual void backward_data() = 0;
  // dW [out, in] = dy^T x, written to the parameters' gradients
  virtual void backward_weights() = 0;
  // The same, but passed to Parameters::update().
  virtual bool can_update() const { return true; }
  virtual void update_weights() = 0;

  bool has_relu() const { return layer_.activation == Activation::kRelu; }

  BuiltinKernels builtin_;
  FullyConnected layer_;
  Parameters& parameters_;
  Tensor input_, output_;
  std::int64_t batch_, in_, out_;

 private:
  void stop_at_relu();

  std::size_t index_;
};

}  // namespace distmnist::cpu
