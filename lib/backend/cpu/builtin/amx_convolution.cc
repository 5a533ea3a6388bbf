#include "lib/backend/cpu/builtin/amx_convolution.h"

#include <algorithm>
#include <vector>

#include "lib/backend/cpu/builtin/fused_convolution.h"
#include "lib/backend/cpu/builtin/fused_convolution_base.h"

namespace distmnist::cpu {
namespace {

using Bf16Buffer = NumberBuffer<Bf16>;

// One for each thread.
std::vector<Bf16Buffer> make_buffers(const BuiltinKernels& builtin, std::int64_t size) {
  std::vector<Bf16Buffer> buffers;
  for (int part = 0; part < builtin.pool.size(); ++part) buffers.emplace_back(static_cast<std::size_t>(size));
  return buffers;
}

// For one input channel.
class AmxDirectConvolution final : public FusedConvolutionBase {
 public:
  AmxDirectConvolution(const LayerContext& context, const Conv2d& layer, const LayerPlace& place,
                       const AmxConvolutionForm& form)
      : FusedConvolutionBase(context, layer, place,
                             {.plain_output = form.plain_output,
                              .rounds_weights = true,
                              .sums_size = kBlockSide * layer.output.channels}),
        tiles_{shape_of(layer), form.planes},
        stacked_(static_cast<std::size_t>(kTileDepth * layer.output.channels)),
        packed_(stacked_.size() * static_cast<std::size_t>(form.planes)),
        scratch_(make_buffers(context.builtin, tiles_.scratch_size())) {}

 private:
  void prepare_weights() override {
    const float* from = weights();
    for (std::int64_t y = 0; y < shape_.window_height; ++y) {
      for (std::int64_t x = 0; x < shape_.window_width; ++x, from += shape_.out) {
        std::copy_n(from, shape_.out, stacked_.data() + (x * tiles_.stack() + y) * shape_.out);
      }
    }
    builtin_.amx->pack({.factor = Factor::kRight,
                        .rows = kTileDepth,
                        .columns = shape_.out,
                        .from = stacked_.data(),
                        .from_row = shape_.out,
                        .to = packed_.data(),
                        .strip_size = tiles_.planes,
                        .planes = tiles_.planes});
  }
  void forward_images(const ImageShare& image, const Pooled& pooled) override {
    builtin_.amx->direct_forward(
        {tiles_, image.values, packed_.data(), parameters_.address(layer_.biases), pooled, scratch(image.part)});
  }
  void backward_images(const ImageShare& image, const PooledGradient& gradient, float*) override {
    builtin_.amx->direct_backward(
        {tiles_, image.values, gradient, weight_sums(image.part), bias_sums(image.part), scratch(image.part)});
  }
  void finish_weight_gradient(const float* sums, const Share& in) override { put_weight_gradient(sums, in); }

  Bf16* scratch(int part) { return scratch_[static_cast<std::size_t>(part)].data(); }

  TileDirect tiles_;
  FloatBuffer stacked_;  // [kTileDepth, out]
  Bf16Buffer packed_;
  std::vector<Bf16Buffer> scratch_;
};

class AmxConvolution final : public FusedConvolutionBase {
 public:
  AmxConvolution(const LayerContext& context, const Conv2d& layer, const LayerPlace& place,
                 const AmxConvolutionForm& form)
      : FusedConvolutionBase(context, layer, place,
                             {.plain_output = form.plain_output,
                              .rounds_weights = true,
                              .sums_size = layer.weights.size,
                              .in_unit = kTileRows}),
        tiles_{shape_of(layer), form.planes},
        packed_(static_cast<std::size_t>(layer.weights.size * form.planes)),
        reversed_(place.input.needs_gradient() ? packed_.size() : 0),
        forward_scratch_(make_buffers(context.builtin, tiles_.forward_scratch_size())),
        backward_scratch_(make_buffers(context.builtin, tiles_.backward_scratch_size())) {}

 private:
  void prepare_weights() override {
    const std::int64_t taps = tiles_.taps(), in = shape_.in, out = shape_.out;
    const int planes = tiles_.planes;
    builtin_.amx->pack({.factor = Factor::kRight,
                        .rows = taps * in,
                        .columns = out,
                        .from = weights(),
                        .from_row = out,
                        .to = packed_.data(),
                        .strip_size = taps * in / kTileDepth * planes,
                        .planes = planes});
    if (!input_.needs_gradient()) return;
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      builtin_.amx->pack({.factor = Factor::kRight,
                          .transposed = true,
                          .rows = in,
                          .columns = out,
                          .from = weights() + tap * in * out,
                          .from_row = out,
                          .to = reversed_.data() + (taps - 1 - tap) * out / kTileDepth * planes * kTileSize,
                          .strip_size = taps * out / kTileDepth * planes,
                          .planes = planes});
    }
  }
  void forward_images(const ImageShare& image, const Pooled& pooled) override {
    builtin_.amx->convolution_forward({tiles_, image.values, packed_.data(), parameters_.address(layer_.biases), pooled,
                                       forward_scratch_[static_cast<std::size_t>(image.part)].data()});
  }
  void backward_images(const ImageShare& image, const PooledGradient& gradient, float* image_gradient) override {
    builtin_.amx->convolution_backward({tiles_, image.values, gradient, reversed_.data(), weight_sums(image.part),
                                        bias_sums(image.part), image_gradient,
                                        backward_scratch_[static_cast<std::size_t>(image.part)].data()});
  }
  // From [in / 16][out / 16][taps][16 out][16 in].
  void finish_weight_gradient(const float* sums, const Share& in) override {
    float* const gradient = parameters_.gradient_address(layer_.weights);
    const std::int64_t taps = tiles_.taps();
    for (std::int64_t ci = in.begin; ci < in.end; ci += kTileRows) {
      for (std::int64_t co = 0; co < shape_.out; ++co) {
        const float* const from = sums + (ci / kTileRows * shape_.out / kTileRows + co / kTileRows) * taps * kSumSize +
                                  co % kTileRows * kTileRows;
        builtin_.vector.transpose({taps, kTileRows, from, kSumSize, gradient + (co * shape_.in + ci) * taps, taps});
      }
    }
  }
  static constexpr std::int64_t kSumSize = kTileRows * kTileRows;  // floats per tile

  TileConvolution tiles_;
  Bf16Buffer packed_;    // a right factor [taps * in, out]
  Bf16Buffer reversed_;  // [taps * out, in], the last tap first
  std::vector<Bf16Buffer> forward_scratch_, backward_scratch_;
};

}  // namespace

bool fits_tiles(const Conv2d& layer) {
  switch (fused_convolution_of(layer)) {
    case FusedConvolution::kNone:
      return false;
    case FusedConvolution::kDirect:
      return TileDirect{shape_of(layer)}.fits();
    case FusedConvolution::kWinograd:
      return true;
  }
  return false;
}

std::unique_ptr<LayerKernel> make_amx_convolution(const LayerContext& context, const Conv2d& layer,
                                                  const LayerPlace& place, const AmxConvolutionForm& form) {
  if (layer.input.channels == 1) return std::make_unique<AmxDirectConvolution>(context, layer, place, form);
  return std::make_unique<AmxConvolution>(context, layer, place, form);
}

}  // namespace distmnist::cpu
