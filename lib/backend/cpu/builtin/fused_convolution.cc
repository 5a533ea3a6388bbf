#include "lib/backend/cpu/builtin/fused_convolution.h"

#include <cstring>
#include <vector>

#include "lib/backend/cpu/builtin/fused_convolution_base.h"

namespace distmnist::cpu {
namespace {

// Copies images one by one into a frame of zeros, and extracts gradients from one.
struct Borders {
  std::int64_t height = 0, row = 0;                // of an image; rows in floats
  std::int64_t framed_height = 0, framed_row = 0;  // of its frame
  std::int64_t top = 0, left = 0;                  // position of the image in its frame; left in floats

  std::int64_t framed_size() const { return framed_height * framed_row; }
  std::int64_t image_size() const { return height * row; }
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

// The number of images passed to the kernels at once, if they benefit from more than one. All weights are then streamed
// once before the images have left the cache.
constexpr std::int64_t kImagesAtOnce = 4;

struct FramedForm : FusedConvolutionForm {
  Borders borders;
  std::int64_t scratch_size = 0;  // floats per thread, for the kernels
};

// Kernels that need images with borders.
class FramedConvolution : public FusedConvolutionBase {
 public:
  FramedConvolution(const LayerContext& context, const Conv2d& layer, const LayerPlace& place, const FramedForm& form)
      : FusedConvolutionBase(context, layer, place, form), borders_(form.borders) {
    const auto framed_size = static_cast<std::size_t>(form.at_once * borders_.framed_size());
    for (int part = 0; part < builtin_.pool.size(); ++part) {
      threads_.push_back({FloatBuffer(framed_size), FloatBuffer(place.input.needs_gradient() ? framed_size : 0),
                          FloatBuffer(static_cast<std::size_t>(form.scratch_size))});
    }
  }

 protected:
  struct Thread {
    FloatBuffer framed, framed_gradient;  // images and their gradients, with borders
    FloatBuffer scratch;
  };
  Thread& thread(int part) { return threads_[static_cast<std::size_t>(part)]; }

  void forward_images(const ImageShare& images, const Pooled& pooled) final {
    put(images);
    forward_framed(images.part, images.count, pooled);
  }
  void backward_images(const ImageShare& images, const PooledGradient& gradient, float* image_gradients) final {
    put(images);
    backward_framed(images.part, images.count, gradient);
    if (image_gradients == nullptr) return;
    for (std::int64_t n = 0; n < images.count; ++n) {
      borders_.take(thread(images.part).framed_gradient.data() + n * borders_.framed_size(),
                    image_gradients + n * borders_.image_size());
    }
  }
  virtual void forward_framed(int part, std::int64_t count, const Pooled& pooled) = 0;
  virtual void backward_framed(int part, std::int64_t count, const PooledGradient& gradient) = 0;

 private:
  void put(const ImageShare& images) {
    for (std::int64_t n = 0; n < images.count; ++n) {
      borders_.put(images.values + n * borders_.image_size(),
                   thread(images.part).framed.data() + n * borders_.framed_size());
    }
  }

  Borders borders_;
  std::vector<Thread> threads_;
};

class DirectConvolution final : public FramedConvolution {
 public:
  DirectConvolution(const LayerContext& context, const Conv2d& layer, const LayerPlace& place, bool plain_output)
      : FramedConvolution(context, layer, place,
                          {{.plain_output = plain_output, .sums_size = layer.weights.size},
                           {.height = layer.input.height,
                            .row = layer.input.width,
                            .framed_height = layer.input.height + layer.window.height - 1,
                            .framed_row = layer.input.width + layer.window.width - 1,
                            .top = layer.window.pad_top,
                            .left = layer.window.pad_left},
                           2 * layer.input.width * layer.output.channels}) {}

 private:
  void forward_framed(int part, std::int64_t, const Pooled& pooled) override {
    builtin_.vector.direct_forward(
        {shape_, thread(part).framed.data(), weights(), parameters_.address(layer_.biases), pooled});
  }
  void backward_framed(int part, std::int64_t, const PooledGradient& gradient) override {
    builtin_.vector.direct_backward({shape_, thread(part).framed.data(), gradient, weight_sums(part), bias_sums(part),
                                     thread(part).scratch.data()});
  }
  void finish_weight_gradient(const float* sums, const Share& in) override { put_weight_gradient(sums, in); }
};

class WinogradConvolution final : public FramedConvolution {
 public:
  WinogradConvolution(const LayerContext& context, const Conv2d& layer, const LayerPlace& place, bool plain_output)
      : FramedConvolution(
            context, layer, place,
            {{.plain_output = plain_output, .sums_size = winograd_of(layer).weights_size(), .at_once = kImagesAtOnce},
             borders_of(layer),
             winograd_of(layer).scratch_size(kImagesAtOnce)}),
        winograd_(winograd_of(layer)),
        transformed_(static_cast<std::size_t>(winograd_.weights_size())),
        transposed_(static_cast<std::size_t>(place.input.needs_gradient() ? winograd_.weights_size() : 0)),
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
    builtin_.pool.run([&](int part) {
      const Share share = share_of(shape_.in, part, builtin_.pool.size(), kChannelShare);
      builtin_.vector.winograd_weights({shape_.in, shape_.out, share.begin, share.end, weights(), transformed_.data(),
                                        input_.needs_gradient() ? transposed_.data() : nullptr});
    });
  }
  void forward_framed(int part, std::int64_t count, const Pooled& pooled) override {
    builtin_.vector.winograd_forward({winograd_, count, thread(part).framed.data(), transformed_.data(),
                                      parameters_.address(layer_.biases), pooled, thread(part).scratch.data()});
  }
  void backward_framed(int part, std::int64_t count, const PooledGradient& gradient) override {
    builtin_.vector.winograd_backward(
        {winograd_, count, thread(part).framed.data(), gradient, transposed_.data(), weight_sums(part), bias_sums(part),
         input_.needs_gradient() ? thread(part).framed_gradient.data() : nullptr, thread(part).scratch.data()});
  }
  void finish_weight_gradient(const float* sums, const Share& in) override {
    builtin_.vector.winograd_weight_gradient({shape_.in, shape_.out, in.begin, in.end, sums, weight_gradient_.data()});
    put_weight_gradient(weight_gradient_.data(), in);
  }

  WinogradShape winograd_;
  FloatBuffer transformed_;      // 64 [in, out]
  FloatBuffer transposed_;       // 64 [out, in]
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

std::unique_ptr<LayerKernel> make_fused_convolution(const LayerContext& context, const Conv2d& layer,
                                                    const LayerPlace& place, bool plain_output) {
  if (fused_convolution_of(layer) == FusedConvolution::kDirect) {
    return std::make_unique<DirectConvolution>(context, layer, place, plain_output);
  }
  return std::make_unique<WinogradConvolution>(context, layer, place, plain_output);
}

}  // namespace distmnist::cpu
