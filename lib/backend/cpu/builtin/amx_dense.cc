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

// Wraps `function` as the kernel's callback for a finished block of a product; `function` must outlive it.
template <typename Function>
BlockDone block_done(const Function& function) {
  return {[](const void* context, std::int64_t row, std::int64_t column, std::int64_t columns) {
            (*static_cast<const Function*>(context))(row, column, columns);
          },
          &function};
}

class AmxDense final : public DenseBase {
 public:
  AmxDense(const LayerContext& context, const FullyConnected& layer, const LayerPlace& place, const AmxDenseForm& form)
      : DenseBase(context, layer, place),
        planes_(form.planes),
        rounds_outputs_(form.planes == kRounded && !form.logits),
        weights_(factor(out_, in_)),
        input_depth_(factor(in_, batch_)),
        input_batch_(factor(batch_, in_)),
        gradient_(factor(batch_, out_)),
        transposed_gradient_(factor(out_, batch_)) {
    for (int part = 0; part < builtin_.pool.size(); ++part) {
      threads_.push_back(
          {FloatBuffer(static_cast<std::size_t>(kBlockSide * std::max(kTileProductColumns, padded(in_)))),
           place.input.needs_gradient() ? factor(out_, kBlockSide) : Bf16Buffer()});
    }
  }

  // y^T = W x^T + b, because the rows of W are already a left factor.
  void forward(const Step& step) override {
    refresh_weights();
    share(in_, [&](Thread&, const Share& share) {
      const Packing input{.rows = batch_,
                          .columns = share.size(),
                          .from = floats(input_.value) + share.begin,
                          .from_row = in_,
                          .planes = planes_};
      Packing packing = input;
      packing.factor = Factor::kRight;
      packing.transposed = true;
      packing.strip_size = strip_of(in_);
      packing.to = tile_at(input_depth_, packing.strip_size, 0, share.begin);
      builtin_.amx->pack(packing);
      if (!step.training) return;
      packing.transposed = false;
      packing.strip_size = strip_of(batch_);
      packing.to = tile_at(input_batch_, packing.strip_size, share.begin, 0);
      builtin_.amx->pack(packing);
    });
    share(out_, [&](Thread& thread, const Share& share) {
      const auto finish = [&](std::int64_t row, std::int64_t column, std::int64_t columns) {
        finish_outputs({share.begin + row, std::min(share.begin + row + kBlockSide, out_)},
                       {column, std::min(column + columns, batch_)}, thread.block.data());
      };
      builtin_.amx->tile_product({.rows = padded(share.size()),
                                  .columns = padded(batch_),
                                  .depth = padded(in_),
                                  .left = tile_at(weights_, strip_of(in_), share.begin, 0),
                                  .right = input_depth_.data(),
                                  .block = thread.block.data(),
                                  .planes = planes_,
                                  .done = block_done(finish)});
    });
  }

 private:
  struct Thread {
    FloatBuffer block;  // of a product
    Bf16Buffer column;  // a column of blocks of the weights as a right factor [out, 32]
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

  void refresh_weights() {
    if (version_ == parameters_.version(layer_.weights)) return;
    version_ = parameters_.version(layer_.weights);
    share(out_, [&](Thread&, const Share& share) { pack_weights(share); });
  }

  void pack_weights(const Share& rows) {
    builtin_.amx->pack({.rows = rows.size(),
                        .columns = in_,
                        .from = parameters_.address({layer_.weights.offset + rows.begin * in_, 1}),
                        .from_row = in_,
                        .to = tile_at(weights_, strip_of(in_), rows.begin, 0),
                        .strip_size = strip_of(in_),
                        .planes = planes_});
  }

  // Converts a block of y^T - b to y.
  void finish_outputs(const Share& outs, const Share& samples, const float* block) {
    const float* const biases = parameters_.address(layer_.biases);
    float outputs[kTileProductColumns * kBlockSide];
    builtin_.vector.transpose({outs.size(), samples.size(), block, kTileProductColumns, outputs, kBlockSide});
    for (std::int64_t n = samples.begin; n < samples.end; ++n) {
      float* const output = floats(output_.value) + n * out_;
      const float* const from = outputs + (n - samples.begin) * kBlockSide - outs.begin;
      for (std::int64_t o = outs.begin; o < outs.end; ++o) {
        float y = from[o] + biases[o];
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

  // Computes dW and calls done(thread, rows) when these rows of it are in the thread's block, at a stride of
  // padded(in_). Computes whole rows, because done() reads and writes memory, which is fastest sequentially.
  template <typename Done>
  void weight_products(const Done& done) {
    share(out_, [&](Thread& thread, const Share& share) {
      const auto finish = [&](std::int64_t row, std::int64_t, std::int64_t) {
        done(thread, Share{share.begin + row, std::min(share.begin + row + kBlockSide, out_)});
      };
      builtin_.amx->tile_product({.rows = padded(share.size()),
                                  .columns = padded(in_),
                                  .depth = padded(batch_),
                                  .left = tile_at(transposed_gradient_, strip_of(batch_), share.begin, 0),
                                  .right = input_batch_.data(),
                                  .block = thread.block.data(),
                                  .block_columns = padded(in_),
                                  .planes = planes_,
                                  .done = block_done(finish)});
    });
  }

  void backward_weights() override {
    float* const gradient = parameters_.gradient_address(layer_.weights);
    weight_products([&](Thread& thread, const Share& rows) {
      for (std::int64_t row = rows.begin; row < rows.end; ++row) {
        std::copy_n(thread.block.data() + (row - rows.begin) * padded(in_), in_, gradient + row * in_);
      }
    });
  }

  void update_weights() override {
    weight_products([&](Thread& thread, const Share& rows) {
      for (std::int64_t row = rows.begin; row < rows.end; ++row) {
        parameters_.update({layer_.weights.offset + row * in_, in_},
                           thread.block.data() + (row - rows.begin) * padded(in_));
      }
      pack_weights(rows);
    });
    version_ = parameters_.version(layer_.weights) + 1;  // end_update() will count this update.
  }

  void backward_data() override {
    share(in_, [&](Thread& thread, const Share& share) {
      for (std::int64_t column = share.begin; column < share.end; column += kBlockSide) {
        const auto finish = [&](std::int64_t row, std::int64_t, std::int64_t) {
          const std::int64_t columns = std::min(kBlockSide, in_ - column);
          for (std::int64_t n = row; n < std::min(row + kBlockSide, batch_); ++n) {
            const float* from = thread.block.data() + (n - row) * kTileProductColumns;
            std::copy_n(from, columns, floats(input_.gradient) + n * in_ + column);
          }
        };
        builtin_.amx->repack({.rows = padded(out_),
                              .left = tile_at(weights_, strip_of(in_), 0, column),
                              .strip_size = strip_of(in_),
                              .right = thread.column.data(),
                              .planes = planes_});
        builtin_.amx->tile_product({.rows = padded(batch_),
                                    .columns = kBlockSide,
                                    .depth = padded(out_),
                                    .left = gradient_.data(),
                                    .right = thread.column.data(),
                                    .block = thread.block.data(),
                                    .planes = planes_,
                                    .done = block_done(finish)});
      }
    });
  }

  int planes_;
  bool rounds_outputs_;
  Bf16Buffer weights_;                         // left, [out, in]
  std::uint64_t version_ = ~std::uint64_t{0};  // of the packed weights; initially none
  Bf16Buffer input_depth_;                     // right, x^T: [in, batch]
  Bf16Buffer input_batch_;                     // right, x: [batch, in]
  Bf16Buffer gradient_;                        // left, dy: [batch, out]
  Bf16Buffer transposed_gradient_;             // left, dy^T: [out, batch]
  std::vector<Thread> threads_;
};

}  // namespace

std::unique_ptr<LayerKernel> make_amx_dense(const LayerContext& context, const FullyConnected& layer,
                                            const LayerPlace& place, const AmxDenseForm& form) {
  return std::make_unique<AmxDense>(context, layer, place, form);
}

}  // namespace distmnist::cpu
