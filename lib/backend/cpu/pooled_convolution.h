// Convolution, relu and 2x2 max-pool in one: what all algorithms for it have in common.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/backend/cpu/kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

ConvolutionShape shape_of(const Conv2d& layer);

// Threads share the images: forward as they come; backward in equal shares, for each thread adds up its own gradients
// of weights and biases, which are then added in the order of the threads. Tensors as for make_fused_convolution().
class PooledConvolution : public Kernel {
 public:
  // `sums_size`: floats that a thread adds the gradients of the weights up in. `at_once`: images, at most, that the
  // kernels get in one call.
  PooledConvolution(const OwnKernels& own, const Conv2d& layer, std::size_t index, Parameters& parameters,
                    const Tensor& input, const Tensor& output, bool plain_output, std::int64_t sums_size,
                    std::int64_t at_once = 1);

  void forward(const Step& step) override;
  void backward(const Step& step) override;
  void add_choices(std::vector<LayerChoices>& choices) const override;

 protected:
  // Of images [count, height, width, in], in the thread of this part.
  virtual void forward_images(int part, std::int64_t count, const float* images, const Pooled& pooled) = 0;
  // Adds to weight_sums() and bias_sums(); overwrites the images' gradients, unless null says that they are not wanted.
  virtual void backward_images(int part, std::int64_t count, const float* images, const PooledGradient& gradient,
                               float* image_gradients) = 0;
  // After weights() have changed.
  virtual void prepare_weights() {}
  // From the sums of all threads to the gradient of the weights of these input channels; calls put_weight_gradient().
  virtual void finish_weight_gradient(const float* sums, const Share& in) = 0;

  const float* weights() const { return weights_.data(); }  // [window, in, out]
  float* weight_sums(int part) { return threads_[static_cast<std::size_t>(part)].weight_sums.data(); }
  float* bias_sums(int part) { return threads_[static_cast<std::size_t>(part)].bias_sums.data(); }
  // Of these input channels, from [window, in, out] to the gradient's canonical layout.
  void put_weight_gradient(const float* gradient, const Share& in);
  std::int64_t image_size() const { return shape_.height * shape_.width * shape_.in; }

  OwnKernels own_;
  Conv2d layer_;
  Parameters& parameters_;
  Tensor input_, output_;
  ConvolutionShape shape_;

 private:
  struct Thread {
    FloatBuffer pooled;  // [at once, height / 2, width / 2, out], where the output is in canonical order
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
  std::uint64_t version_ = ~std::uint64_t{0};  // of the weights that it has; at first none
  std::vector<std::uint8_t> choices_;          // [batch, height / 2, width / 2, out]
  std::vector<Thread> threads_;
};

}  // namespace distmnist::cpu
