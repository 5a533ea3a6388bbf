#include "lib/backend/cpu/fused_convolution.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace distmnist::cpu {
namespace {

// [rows, columns] to [columns, rows].
void transpose(const float* from, std::int64_t rows, std::int64_t columns, float* to) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) to[column * rows + row] = from[row * columns + column];
  }
}

ConvolutionShape shape_of(const Conv2d& layer) {
  return {.height = layer.input.height,
          .width = layer.input.width,
          .in = layer.input.channels,
          .out = layer.output.channels,
          .window_height = layer.window.height,
          .window_width = layer.window.width};
}

// Images that are copied one by one into a frame of zeros, and gradients that are taken out of one.
struct Borders {
  std::int64_t height = 0, row = 0;                // of an image, rows in floats
  std::int64_t framed_height = 0, framed_row = 0;  // of its frame
  std::int64_t top = 0, left = 0;                  // where the image lies in it, left in floats

  std::int64_t framed_size() const { return framed_height * framed_row; }
  void put(const float* image, float* framed) const {
    for (std::int64_t y = 0; y < height; ++y) {
      std::memcpy(framed + (top + y) * framed_row + left, image + y * row,
                  static_cast<std::size_t>(row) * sizeof(float));
    }
  }
  void take(const float* framed, float* image) const {
    for (std::int64_t y = 0; y < height; ++y) {
      std::memcpy(image + y * row, framed + (top + y) * framed_row + left,
                  static_cast<std::size_t>(row) * sizeof(float));
    }
  }
};

// What the two algorithms have in common: threads share the images; each adds up its own gradients of weights and
// biases, which are then added in the order of the threads.
class PooledConvolution : public Kernel {
 public:
  PooledConvolution(const OwnKernels& own, const Conv2d& layer, std::size_t index, Parameters& parameters,
                    const Tensor& input, const Tensor& output, bool plain_output, const Borders& borders,
                    std::int64_t sums_size, std::int64_t scratch_size)
      : own_(own),
        layer_(layer),
        index_(index),
        parameters_(parameters),
        input_(input),
        output_(output),
        plain_output_(plain_output),
        shape_(shape_of(layer)),
        borders_(borders),
        batch_(dims_of(output.layout())[0]),
        sums_size_(sums_size),
        taps_(shape_.window_height * shape_.window_width),
        weights_(static_cast<std::size_t>(taps_ * shape_.in * shape_.out)),
        choices_(static_cast<std::size_t>(batch_ * shape_.pooled_size())) {
    for (int part = 0; part < own.pool.size(); ++part) {
      threads_.push_back({FloatBuffer(static_cast<std::size_t>(borders.framed_size())),
                          FloatBuffer(static_cast<std::size_t>(borders.framed_size())),
                          FloatBuffer(static_cast<std::size_t>(shape_.pooled_size())),
                          FloatBuffer(static_cast<std::size_t>(sums_size)),
                          FloatBuffer(static_cast<std::size_t>(shape_.out)),
                          FloatBuffer(static_cast<std::size_t>(scratch_size))});
    }
  }

  void forward(const Step&) override {
    refresh_weights();
    own_.pool.run([&](int part) {
      Thread& thread = threads_[static_cast<std::size_t>(part)];
      const Share images = share_of(batch_, part, own_.pool.size());
      for (std::int64_t n = images.begin; n < images.end; ++n) {
        borders_.put(floats(input_.value) + n * image_size(), thread.framed.data());
        float* const values = floats(output_.value) + n * shape_.pooled_size();
        forward_image(thread, {plain_output_ ? thread.pooled.data() : values, choices_of(n)});
        if (plain_output_) transpose(thread.pooled.data(), pixels(), shape_.out, values);
      }
    });
  }

  void backward(const Step& step) override {
    own_.pool.run([&](int part) {
      Thread& thread = threads_[static_cast<std::size_t>(part)];
      std::ranges::fill(thread.weight_sums.span(), 0.0f);
      std::ranges::fill(thread.bias_sums.span(), 0.0f);
      const Share images = share_of(batch_, part, own_.pool.size());
      for (std::int64_t n = images.begin; n < images.end; ++n) {
        borders_.put(floats(input_.value) + n * image_size(), thread.framed.data());
        const float* values = floats(output_.gradient) + n * shape_.pooled_size();
        if (plain_output_) {
          transpose(values, shape_.out, pixels(), thread.pooled.data());
          values = thread.pooled.data();
        }
        backward_image(thread, {values, choices_of(n)});
        if (input_.needs_gradient()) {
          borders_.take(thread.framed_gradient.data(), floats(input_.gradient) + n * image_size());
        }
      }
    });
    add_up(sums_size_, [](Thread& thread) { return thread.weight_sums.data(); });
    add_up(shape_.out, [](Thread& thread) { return thread.bias_sums.data(); });
    finish_weight_gradient(threads_[0].weight_sums.data());
    std::ranges::copy(threads_[0].bias_sums.span(), parameters_.gradients(layer_.biases).begin());
    step.report(layer_.weights);
    step.report(layer_.biases);
  }

  // Pixels that lost in their window let no gradient pass, whatever relu makes of them.
  void add_choices(std::vector<LayerChoices>& choices) const override {
    LayerChoices relu{.layer = index_, .bytes = {}}, pool{.layer = index_ + 1, .bytes = {}};
    relu.bytes.resize(static_cast<std::size_t>(batch_ * shape_.height * shape_.width * shape_.out), 0);
    pool.bytes.resize(choices_.size());
    const std::int64_t width = shape_.width / 2, height = shape_.height / 2;
    for (std::int64_t n = 0; n < batch_; ++n) {
      for (std::int64_t pixel = 0; pixel < pixels(); ++pixel) {
        for (std::int64_t c = 0; c < shape_.out; ++c) {
          const std::uint8_t chosen = choices_of(n)[pixel * shape_.out + c];
          const std::int64_t image = n * shape_.out + c, y = pixel / width, x = pixel % width;
          pool.bytes[static_cast<std::size_t>(image * height * width + pixel)] =
              chosen == kNoneChosen ? LayerChoices::kNoneChosen : chosen;
          if (chosen == kNoneChosen) continue;
          const std::int64_t row = 2 * y + chosen / 2, column = 2 * x + chosen % 2;
          relu.bytes[static_cast<std::size_t>((image * shape_.height + row) * shape_.width + column)] = 1;
        }
      }
    }
    choices.push_back(std::move(relu));
    choices.push_back(std::move(pool));
  }

 protected:
  struct Thread {
    FloatBuffer framed, framed_gradient;  // an image and its gradient, with borders
    FloatBuffer pooled;                   // [height / 2, width / 2, out], where the output is in canonical order
    FloatBuffer weight_sums, bias_sums;
    FloatBuffer scratch;
  };

  virtual void forward_image(Thread& thread, const Pooled& pooled) = 0;
  virtual void backward_image(Thread& thread, const PooledGradient& gradient) = 0;
  // After weights() have changed.
  virtual void prepare_weights() {}
  // From the sums of all threads to the variable's gradient; calls put_weight_gradient().
  virtual void finish_weight_gradient(const float* sums) = 0;

  const float* weights() const { return weights_.data(); }  // [window, in, out]
  // From [window, in, out] to the gradient's canonical layout.
  void put_weight_gradient(const float* gradient) {
    float* const to = parameters_.gradient_address(layer_.weights);
    for (std::int64_t tap = 0; tap < taps_; ++tap) {
      for (std::int64_t ci = 0; ci < shape_.in; ++ci) {
        for (std::int64_t co = 0; co < shape_.out; ++co) to[(co * shape_.in + ci) * taps_ + tap] = *gradient++;
      }
    }
  }

  OwnKernels own_;
  Conv2d layer_;
  std::size_t index_;
  Parameters& parameters_;
  Tensor input_, output_;
  bool plain_output_;
  ConvolutionShape shape_;

 private:
  std::int64_t image_size() const { return shape_.height * shape_.width * shape_.in; }
  std::int64_t pixels() const { return shape_.height / 2 * (shape_.width / 2); }
  std::uint8_t* choices_of(std::int64_t n) { return choices_.data() + n * shape_.pooled_size(); }
  const std::uint8_t* choices_of(std::int64_t n) const { return choices_.data() + n * shape_.pooled_size(); }

  void refresh_weights() {
    if (version_ == parameters_.version(layer_.weights)) return;
    version_ = parameters_.version(layer_.weights);
    const float* const from = parameters_.factors(layer_.weights);
    float* to = weights_.data();
    for (std::int64_t tap = 0; tap < taps_; ++tap) {
      for (std::int64_t ci = 0; ci < shape_.in; ++ci) {
        for (std::int64_t co = 0; co < shape_.out; ++co) *to++ = from[(co * shape_.in + ci) * taps_ + tap];
      }
    }
    prepare_weights();
  }

  // Adds the other threads' floats to those of the first.
  template <typename Floats>
  void add_up(std::int64_t size, const Floats& floats_of) {
    for (std::size_t thread = 1; thread < threads_.size(); ++thread) {
      float* const sums = floats_of(threads_[0]);
      const float* const others = floats_of(threads_[thread]);
      for (std::int64_t i = 0; i < size; ++i) sums[i] += others[i];
    }
  }

  Borders borders_;
  std::int64_t batch_, sums_size_, taps_;
  FloatBuffer weights_;
  std::uint64_t version_ = ~std::uint64_t{0};  // of the weights that it has; at first none
  std::vector<std::uint8_t> choices_;          // [batch, height / 2, width / 2, out]
  std::vector<Thread> threads_;
};

class DirectConvolution final : public PooledConvolution {
 public:
  DirectConvolution(const OwnKernels& own, const Conv2d& layer, std::size_t index, Parameters& parameters,
                    const Tensor& input, const Tensor& output, bool plain_output)
      : PooledConvolution(own, layer, index, parameters, input, output, plain_output,
                          {.height = layer.input.height,
                           .row = layer.input.width,
                           .framed_height = layer.input.height + layer.window.height - 1,
                           .framed_row = layer.input.width + layer.window.width - 1,
                           .top = layer.window.pad_top,
                           .left = layer.window.pad_left},
                          layer.weights.size, 2 * layer.input.width * layer.output.channels) {}

 private:
  void forward_image(Thread& thread, const Pooled& pooled) override {
    own_.vector.direct_forward({shape_, thread.framed.data(), weights(), parameters_.address(layer_.biases), pooled});
  }
  void backward_image(Thread& thread, const PooledGradient& gradient) override {
    own_.vector.direct_backward({shape_, thread.framed.data(), gradient, thread.weight_sums.data(),
                                 thread.bias_sums.data(), thread.scratch.data()});
  }
  void finish_weight_gradient(const float* sums) override { put_weight_gradient(sums); }
};

class WinogradConvolution final : public PooledConvolution {
 public:
  WinogradConvolution(const OwnKernels& own, const Conv2d& layer, std::size_t index, Parameters& parameters,
                      const Tensor& input, const Tensor& output, bool plain_output)
      : PooledConvolution(own, layer, index, parameters, input, output, plain_output, borders_of(layer),
                          winograd_of(layer).weights_size(), winograd_of(layer).scratch_size()),
        winograd_(winograd_of(layer)),
        transformed_(static_cast<std::size_t>(winograd_.weights_size())),
        transposed_(static_cast<std::size_t>(input.needs_gradient() ? winograd_.weights_size() : 0)),
        weight_gradient_(static_cast<std::size_t>(layer.weights.size)) {}

 private:
  static WinogradShape winograd_of(const Conv2d& layer) { return {shape_of(layer)}; }
  static Borders borders_of(const Conv2d& layer) {
    const WinogradShape shape = winograd_of(layer);
    return {.height = layer.input.height,
            .row = layer.input.width * layer.input.channels,
            .framed_height = shape.padded_height(),
            .framed_row = shape.padded_width() * layer.input.channels,
            .top = layer.window.pad_top,
            .left = layer.window.pad_left * layer.input.channels};
  }

  void prepare_weights() override {
    own_.pool.run([&](int part) {
      const Share share = share_of(shape_.in, part, own_.pool.size(), kChannelUnit);
      own_.vector.winograd_weights({shape_.in, shape_.out, share.begin, share.end, weights(), transformed_.data(),
                                    input_.needs_gradient() ? transposed_.data() : nullptr});
    });
  }
  void forward_image(Thread& thread, const Pooled& pooled) override {
    own_.vector.winograd_forward({winograd_, thread.framed.data(), transformed_.data(),
                                  parameters_.address(layer_.biases), pooled, thread.scratch.data()});
  }
  void backward_image(Thread& thread, const PooledGradient& gradient) override {
    own_.vector.winograd_backward({winograd_, thread.framed.data(), gradient, transposed_.data(),
                                   thread.weight_sums.data(), thread.bias_sums.data(),
                                   input_.needs_gradient() ? thread.framed_gradient.data() : nullptr,
                                   thread.scratch.data()});
  }
  void finish_weight_gradient(const float* sums) override {
    own_.vector.winograd_weight_gradient({shape_.in, shape_.out, sums, weight_gradient_.data()});
    put_weight_gradient(weight_gradient_.data());
  }

  WinogradShape winograd_;
  FloatBuffer transformed_;      // [64, in, out]
  FloatBuffer transposed_;       // [64, out, in]
  FloatBuffer weight_gradient_;  // [5, 5, in, out]
};

}  // namespace

FusedConvolution fused_convolution_of(const Conv2d& layer) {
  const Window& window = layer.window;
  const bool same = window.stride == 1 && window.height % 2 == 1 && window.width % 2 == 1 &&
                    window.pad_top == window.height / 2 && window.pad_bottom == window.height / 2 &&
                    window.pad_left == window.width / 2 && window.pad_right == window.width / 2;
  const bool even = layer.input.height % 2 == 0 && layer.input.width % 2 == 0;
  if (!same || !even || layer.activation != Activation::kRelu || layer.output.channels % kChannelUnit != 0) {
    return FusedConvolution::kNone;
  }
  if (layer.input.channels == 1) return FusedConvolution::kDirect;
  const bool fits = window.height == 5 && window.width == 5 && layer.input.channels % kChannelUnit == 0;
  return fits ? FusedConvolution::kWinograd : FusedConvolution::kNone;
}

bool is_fusible(const MaxPool2d& pool) {
  return pool.window.height == 2 && pool.window.width == 2 && pool.window.stride == 2;
}

std::unique_ptr<Kernel> make_fused_convolution(const OwnKernels& own, const Conv2d& layer, std::size_t index,
                                               Parameters& parameters, const Tensor& input, const Tensor& output,
                                               bool plain_output) {
  if (fused_convolution_of(layer) == FusedConvolution::kDirect) {
    return std::make_unique<DirectConvolution>(own, layer, index, parameters, input, output, plain_output);
  }
  return std::make_unique<WinogradConvolution>(own, layer, index, parameters, input, output, plain_output);
}

}  // namespace distmnist::cpu
