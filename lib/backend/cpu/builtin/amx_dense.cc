#include "lib/backend/cpu/builtin/amx_dense.h"

#include <algorithm>
#include <vector>

#include "lib/backend/cpu/builtin/dense_base.h"
#include "lib/backend/cpu/builtin/rounding.h"

namespace distmnist::cpu {
namespace {

using Bf16Buffer = NumberBuffer<Bf16>;

// A smaller product finishes before a second thread has woken up.
constexpr std::int64_t kSharedTileProducts = 8'000'000;  // multiply-adds

// In an update, the columns of 32 rows that are computed at a time: 200 KiB of gradients, which stay in the
// second-level cache. Parameters and slots come from memory, which is fastest sequentially, so a row's pieces follow
// one another. The other order, a piece's columns in all rows, keeps the input in the cache but was slower.
constexpr std::int64_t kUpdateColumns = 1600;

class AmxDense final : public DenseBase {
 public:
  AmxDense(const LayerContext& context, const FullyConnected& layer, const LayerPlace& place, const AmxDenseForm& form)
      : DenseBase(context, layer, place),
        planes_(form.planes),
        rounds_outputs_(form.planes == kRounded && !form.logits),
        weights_(parameters_.tiles(layer.weights, *builtin_.amx, out_, in_, form.planes)),
        input_depth_(factor(in_, batch_)),
        input_batch_(factor(batch_, in_)),
        gradient_(factor(batch_, out_)),
        transposed_gradient_(factor(out_, batch_)) {
    for (int part = 0; part < builtin_.pool.size(); ++part) {
      threads_.push_back({FloatBuffer(static_cast<std::size_t>(kBlockSide * std::max(padded(in_), padded(batch_)))),
                          FloatBuffer(static_cast<std::size_t>(kBlockSide * padded(batch_))),
                          place.input.needs_gradient() ? factor(out_, kBlockSide) : Bf16Buffer()});
    }
  }

  // y^T = W x^T + b, because the rows of W are already a left factor.
  void forward(const Step& step) override {
    refresh_weights();
    share(in_, [&](Thread&, const Share& share) {
      Packing packing{.factor = Factor::kRight,
                      .transposed = true,
                      .rows = batch_,
                      .columns = share.size(),
                      .from = floats(input_.value) + share.begin,
                      .from_row = in_,
                      .to = tile_at(input_depth_, strip_of(in_), 0, share.begin),
                      .strip_size = strip_of(in_),
                      .planes = planes_};
      builtin_.amx->pack(packing);
      if (!step.training) return;
      packing.transposed = false;
      packing.strip_size = strip_of(batch_);
      packing.to = tile_at(input_batch_, packing.strip_size, share.begin, 0);
      builtin_.amx->pack(packing);
    });
    share_blocks(out_, [&](Thread& thread, const Share& outs) {
      builtin_.amx->tile_product({.rows = kBlockSide,
                                  .columns = padded(batch_),
                                  .depth = padded(in_),
                                  .left = weights_.tile(outs.begin, 0),
                                  .right = input_depth_.data(),
                                  .to = thread.block.data(),
                                  .to_row = padded(batch_),
                                  .planes = planes_});
      finish_outputs(outs, thread);
    });
  }

 private:
  struct Thread {
    FloatBuffer block;    // of a product
    FloatBuffer outputs;  // [batch, 32]
    Bf16Buffer column;    // a column of blocks of the weights as a right factor [out, 32]
  };

  static std::int64_t padded(std::int64_t size) { return in_blocks(size) * kBlockSide; }
  Bf16Buffer factor(std::int64_t a, std::int64_t b) const {
    return Bf16Buffer(static_cast<std::size_t>(packed_size(a, b, planes_)));
  }
  // The number of tiles in a strip.
  std::int64_t strip_of(std::int64_t depth) const { return in_blocks(depth) * planes_; }
  // The tile of a factor whose strips have `strip_size` tiles. `across` counts numbers across the strips, `depth` along
  // them.
  Bf16* tile_at(Bf16Buffer& factor, std::int64_t strip_size, std::int64_t across, std::int64_t depth) const {
    return factor.data() + (across / kTileRows * strip_size + depth / kTileDepth * planes_) * kTileSize;
  }

  // Calls work(thread, share) with each thread's share of 0 .. size - 1, in whole blocks.
  template <typename Work>
  void share(std::int64_t size, const Work& work) {
    if (batch_ * in_ * out_ < kSharedTileProducts) return work(threads_[0], Share{0, size});
    builtin_.pool.run([&](int part) {
      const Share share = share_of(size, part, builtin_.pool.size(), kBlockSide);
      if (share.size() > 0) work(threads_[static_cast<std::size_t>(part)], share);
    });
  }

  // The same with one block of at most kBlockSide at a time.
  template <typename Work>
  void share_blocks(std::int64_t size, const Work& work) {
    share(size, [&](Thread& thread, const Share& share) {
      for (std::int64_t at = share.begin; at < share.end; at += kBlockSide) {
        work(thread, Share{at, std::min(at + kBlockSide, share.end)});
      }
    });
  }

  void refresh_weights() {
    if (parameters_.tiles_are_current(layer_.weights)) return;
    share(out_, [&](Thread&, const Share& share) { weights_.pack(share, parameters_.address(layer_.weights)); });
    parameters_.note_tiles_packed(layer_.weights);
  }

  // Converts a block of y^T - b, which the thread has, to y.
  void finish_outputs(const Share& outs, Thread& thread) {
    const float* const biases = parameters_.address(layer_.biases);
    builtin_.vector.transpose(
        {outs.size(), batch_, thread.block.data(), padded(batch_), thread.outputs.data(), kBlockSide});
    float* output = floats(output_.value);
    for (std::int64_t n = 0; n < batch_; ++n, output += out_) {
      const float* const from = thread.outputs.data() + n * kBlockSide;
      for (std::int64_t o = outs.begin; o < outs.end; ++o) {
        float y = from[o - outs.begin] + biases[o];
        if (has_relu() && y <= 0.0f) y = 0.0f;  // NaN is not changed.
        output[o] = rounds_outputs_ ? rounded_to_bf16(y) : y;
      }
    }
  }

  void prepare_gradient() override {
    float* const gradient = floats(output_.gradient);
    if (planes_ == kRounded) round_to_bf16({gradient, static_cast<std::size_t>(batch_ * out_)}, gradient);
    Packing packing{.rows = batch_,
                    .columns = out_,
                    .from = gradient,
                    .from_row = out_,
                    .to = gradient_.data(),
                    .strip_size = strip_of(out_),
                    .planes = planes_};
    if (input_.needs_gradient()) builtin_.amx->pack(packing);
    packing.transposed = true;
    packing.to = transposed_gradient_.data();
    packing.strip_size = strip_of(batch_);
    builtin_.amx->pack(packing);
  }

  // Computes 32 rows of dW, columns [column, column + columns).
  void multiply_gradient(std::int64_t row, std::int64_t column, std::int64_t columns, float* to) {
    builtin_.amx->tile_product({.rows = kBlockSide,
                                .columns = columns,
                                .depth = padded(batch_),
                                .left = tile_at(transposed_gradient_, strip_of(batch_), row, 0),
                                .right = tile_at(input_batch_, strip_of(batch_), column, 0),
                                .to = to,
                                .to_row = columns,
                                .planes = planes_});
  }

  void backward_weights() override {
    share_blocks(out_, [&](Thread& thread, const Share& rows) {
      const Range range{layer_.weights.offset + rows.begin * in_, rows.size() * in_};
      // If no padding is in the way, the rows are computed in their place.
      if (!parameters_.rounds_gradients() && rows.size() == kBlockSide && in_ == padded(in_)) {
        return multiply_gradient(rows.begin, 0, in_, parameters_.gradient_address(range));
      }
      multiply_gradient(rows.begin, 0, padded(in_), thread.block.data());
      for (std::int64_t row = 0; row < rows.size(); ++row) {
        parameters_.put_gradient({range.offset + row * in_, in_}, thread.block.data() + row * padded(in_));
      }
    });
  }

  void update_weights() override {
    share_blocks(out_, [&](Thread& thread, const Share& rows) {
      for (std::int64_t column = 0; column < in_; column += kUpdateColumns) {
        const std::int64_t columns = std::min(kUpdateColumns, padded(in_) - column);
        multiply_gradient(rows.begin, column, columns, thread.block.data());
        for (std::int64_t row = rows.begin; row < rows.end; ++row) {
          parameters_.update({layer_.weights.offset + row * in_ + column, std::min(columns, in_ - column)},
                             thread.block.data() + (row - rows.begin) * columns);
        }
      }
      weights_.pack(rows, parameters_.address(layer_.weights));
    });
    parameters_.note_tiles_packed(layer_.weights, 1);  // end_update() will count this update.
  }

  void backward_data() override {
    share_blocks(in_, [&](Thread& thread, const Share& columns) {
      builtin_.amx->repack({.rows = padded(out_),
                            .left = weights_.tile(0, columns.begin),
                            .strip_size = weights_.strip_size(),
                            .right = thread.column.data(),
                            .planes = planes_});
      builtin_.amx->tile_product({.rows = padded(batch_),
                                  .columns = kBlockSide,
                                  .depth = padded(out_),
                                  .left = gradient_.data(),
                                  .right = thread.column.data(),
                                  .to = thread.block.data(),
                                  .to_row = kBlockSide,
                                  .planes = planes_});
      float* const to = floats(input_.gradient) + columns.begin;
      for (std::int64_t n = 0; n < batch_; ++n) {
        std::copy_n(thread.block.data() + n * kBlockSide, columns.size(), to + n * in_);
      }
    });
  }

  int planes_;
  bool rounds_outputs_;
  TileMatrix& weights_;
  Bf16Buffer input_depth_;          // right, x^T: [in, batch]
  Bf16Buffer input_batch_;          // right, x: [batch, in]
  Bf16Buffer gradient_;             // left, dy: [batch, out]
  Bf16Buffer transposed_gradient_;  // left, dy^T: [out, batch]
  std::vector<Thread> threads_;
};

}  // namespace

std::unique_ptr<LayerKernel> make_amx_dense(const LayerContext& context, const FullyConnected& layer,
                                            const LayerPlace& place, const AmxDenseForm& form) {
  return std::make_unique<AmxDense>(context, layer, place, form);
}

}  // namespace distmnist::cpu
