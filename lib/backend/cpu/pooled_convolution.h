// PooledConvolution: the common part of all implementations of fused convolution, ReLU and 2x2 max-pool.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/backend/cpu/kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

ConvolutionShape shape_of(const Conv2d& layer);

// Threads share the images: dynamically in the forward pass, and in equal shares in the backward pass, because each
// thread sums its own gradients of weights and biases. These sums are then added in thread order. Tensors as in
// make_fused_convolution().
class PooledConvolution : public Kernel {
 public:
  // `sums_size`: the floats in which a thread sums the gradients of the weights. `at_once`: the maximum number of
  // images per kernel call.
  PooledConvolution(const OwnKernels& own, const Conv2d& layer, std::size_t index, Parameters& parameters,
                    const Tensor& input, const Tensor& output, bool plain_output, std::int64_t sums_size,
                    std::int64_t at_once = 1);

  void forward(const Step& step) override;
  void backward(const Step& step) override;
  void add_choices(std::vector<LayerChoices>& choices) const override;

 protected:
  // Processes images [count, height, width, in] on the thread of this part.
  virtual void forward_images(int part, std::int64_t count, const float* images, const Pooled& pooled) = 0;
  // Adds to weight_sums() and bias_sums(), and overwrites the images' gradients unless null.
  virtual void backward_images(int part, std::int64_t count, const float* images, const PooledGradient& gradient,
                               float* image_gradients) = 0;
  // Called after weights() have changed.
  virtual void prepare_weights() {}
  // Computes the gradient of the weights for these input channels from the sums of all threads; calls
  // put_weight_gradient().
  virtual void finish_weight_gradient(const float* sums, const Share& in) = 0;

  const float* weights() const { return weights_.data(); }  // [window, in, out]
  float* weight_sums(int part) { return threads_[static_cast<std::size_t>(part)].weight_sums.data(); }
  float* bias_sums(int part) { return threads_[static_cast<std::size_t>(part)].bias_sums.data(); }
  // Copies the gradient for these input channels from [window, in, out] to the canonical layout.
  void put_weight_gradient(const float* gradient, const Share& in);
  std::int64_t image_size() const { return shape_.height * shape_.width * shape_.in; }

  OwnKernels own_;
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
  std::int64_t batch_, sums_size_, at_once_, taps_;
  FloatBuffer weights_;
  std::uint64_t version_ = ~std::uint64_t{0};  // of weights_; initially none
  std::vector<std::uint8_t> choices_;          // [batch, height / 2, width / 2, out]
  std::vector<Thread> threads_;
};

}  // namespace distmnist::cpu
