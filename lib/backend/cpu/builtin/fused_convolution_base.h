// FusedConvolutionBase: the common part of all implementations of fused convolution, ReLU and 2x2 max-pool.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/backend/cpu/layer_kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

ConvolutionShape shape_of(const Conv2d& layer);

// What the implementations differ in.
struct FusedConvolutionForm {
  bool plain_output = false;             // the output is in canonical order, not with channels last
  bool rounds_weights = false;           // the kernel itself does, if the precision asks for it
  std::int64_t sums_size = 0;            // floats in which a thread sums the gradients of the weights
  std::int64_t at_once = 1;              // maximum number of images per kernel call
  std::int64_t in_unit = kChannelShare;  // finish_weight_gradient() gets multiples of it
};

// Consecutive images, for one kernel call.
struct ImageShare {
  int part = 0;  // of the pool: the thread that processes them
  std::int64_t count = 0;
  const float* values = nullptr;  // [count, height, width, in]
};

// Threads share the images: dynamically in the forward pass, and in equal shares in the backward pass, because each
// thread sums its own gradients of weights and biases. These sums are then added in thread order. Tensors as in
// make_fused_convolution().
class FusedConvolutionBase : public LayerKernel {
 public:
  FusedConvolutionBase(const LayerContext& context, const Conv2d& layer, const LayerPlace& place,
                       const FusedConvolutionForm& form);

  void forward(const Step& step) override;
  void backward(const Step& step) override;
  void add_choices(std::vector<LayerChoices>& choices) const override;

 protected:
  virtual void forward_images(const ImageShare& images, const Pooled& pooled) = 0;
  // Adds to weight_sums() and bias_sums(), and overwrites the images' gradients unless null.
  virtual void backward_images(const ImageShare& images, const PooledGradient& gradient, float* image_gradients) = 0;
  // Called after weights() have changed.
  virtual void prepare_weights() {}
  // Computes the gradient of the weights for these input channels from the sums of all threads and
  // stores it in the parameters' gradients.
  virtual void finish_weight_gradient(const float* sums, const Share& in) = 0;

  const float* weights() const { return weights_.data(); }  // [window, in, out]
  float* weight_sums(int part) { return threads_[static_cast<std::size_t>(part)].weight_sums.data(); }
  float* bias_sums(int part) { return threads_[static_cast<std::size_t>(part)].bias_sums.data(); }
  // Copies the gradient for these input channels from [window, in, out] to the canonical layout.
  void put_weight_gradient(const float* gradient, const Share& in);
  std::int64_t image_size() const { return shape_.height * shape_.width * shape_.in; }

  BuiltinKernels builtin_;
  Conv2d layer_;
  Parameters& parameters_;
  Tensor input_, output_;
  ConvolutionShape shape_;

 private:
  struct Thread {
    FloatBuffer pooled;  // [at once, height / 2, width / 2, out], used if the output is in canonical order
    FloatBuffer weight_sums, bias_sums;
  };

  std::int64_t pixels() const { return shape_.height / 2 * (shape_.width / 2); }
  std::uint8_t* choices_of(std::int64_t n) { return choices_.data() + n * shape_.pooled_size(); }
  const std::uint8_t* choices_of(std::int64_t n) const { return choices_.data() + n * shape_.pooled_size(); }
  void refresh_weights();
  void finish_gradients();

  std::size_t index_;
  bool plain_output_;
  std::int64_t batch_, sums_size_, at_once_, in_unit_, taps_;
  const float* factors_;  // the weights in canonical order
  FloatBuffer weights_;
  std::uint64_t version_ = ~std::uint64_t{0};  // of weights_; initially none
  std::vector<std::uint8_t> choices_;          // [batch, height / 2, width / 2, out]
  std::vector<Thread> threads_;
};

}  // namespace distmnist::cpu
