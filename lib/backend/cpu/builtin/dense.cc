#include "lib/backend/cpu/builtin/dense.h"

#include <algorithm>
#include <vector>

#include "lib/backend/cpu/builtin/dense_base.h"

namespace distmnist::cpu {
namespace {

// A smaller product finishes before a second thread has woken up.
constexpr std::int64_t kSharedProducts = 500'000;  // multiply-adds

// The input columns that a thread takes at a time: one block of the kernels, so no data is read by more than one
// thread.
constexpr std::int64_t kDataColumns = 64;

class Dense final : public DenseBase {
 public:
  Dense(const LayerContext& context, const FullyConnected& layer, const LayerPlace& place)
      : DenseBase(context, layer, place),
        weights_(parameters_.factors(layer.weights)),
        packed_(static_cast<std::size_t>(packs_input() ? panels_size(in_, batch_) : 0)) {
    for (int part = 0; part < builtin_.pool.size(); ++part) {
      scratch_.emplace_back(static_cast<std::size_t>(kProductScratch));
      rows_.emplace_back(static_cast<std::size_t>(packs_input() ? kProductRows * in_ : 0));
    }
  }

  // y = x W^T + b
  void forward(const Step&) override {
    share(out_, kRowProductColumns, [&](int, const Share& share) {
      builtin_.vector.row_products({.rows = batch_,
                                    .columns = share.size(),
                                    .depth = in_,
                                    .a = floats(input_.value),
                                    .a_row = in_,
                                    .b = weights_ + share.begin * in_,
                                    .b_row = in_,
                                    .biases = parameters_.address(layer_.biases) + share.begin,
                                    .relu = has_relu(),
                                    .c = floats(output_.value) + share.begin,
                                    .c_row = out_});
    });
  }

 private:
  // Divides 0 .. size - 1 among the threads in pieces of `unit`.
  template <typename Work>
  void share(std::int64_t size, std::int64_t unit, const Work& work) {
    if (batch_ * in_ * out_ < kSharedProducts) return work(0, Share{0, size});
    builtin_.pool.run_pieces(size, unit, work);
  }

  bool packs_input() const { return batch_ <= kProductDepth; }

  void pack_input() {
    share(in_, kDataColumns, [&](int, const Share& columns) {
      builtin_.vector.pack({.columns = columns.size(),
                            .depth = batch_,
                            .b = floats(input_.value) + columns.begin,
                            .b_row = in_,
                            .packed = packed_.data() + columns.begin * batch_});
    });
  }

  // Writes `rows` of dW [out, in] = dy^T x to `to`.
  void weight_rows(int part, const Share& rows, float* to) {
    builtin_.vector.product({.rows = rows.size(),
                             .columns = in_,
                             .depth = batch_,
                             .a = floats(output_.gradient) + rows.begin,
                             .a_row = 1,
                             .a_column = out_,
                             .b = floats(input_.value),
                             .b_row = in_,
                             .c = to,
                             .c_row = in_,
                             .scratch = scratch_[static_cast<std::size_t>(part)].data(),
                             .packed = packs_input() ? packed_.data() : nullptr});
  }

  void backward_weights() override {
    if (packs_input()) pack_input();
    // With a larger batch, each piece packs the input itself.
    const std::int64_t unit = packs_input() ? kProductRows : (out_ + builtin_.pool.size() - 1) / builtin_.pool.size();
    share(out_, unit, [&](int part, const Share& rows) {
      weight_rows(part, rows, parameters_.gradient_address(layer_.weights) + rows.begin * in_);
    });
  }

  // Updates a few rows of dW at a time. Their parameters and slots are contiguous, and sequential memory access is
  // fastest.
  bool can_update() const override { return packs_input(); }
  void update_weights() override {
    pack_input();
    share(out_, kProductRows, [&](int part, const Share& rows) {
      for (std::int64_t row = rows.begin; row < rows.end; row += kProductRows) {
        const Share some{row, std::min(row + kProductRows, rows.end)};
        float* const gradient = rows_[static_cast<std::size_t>(part)].data();
        weight_rows(part, some, gradient);
        parameters_.update({layer_.weights.offset + row * in_, some.size() * in_}, gradient);
      }
    });
  }

  void backward_data() override {
    share(in_, kDataColumns, [&](int part, const Share& share) {
      builtin_.vector.product({.rows = batch_,
                               .columns = share.size(),
                               .depth = out_,
                               .a = floats(output_.gradient),
                               .a_row = out_,
                               .a_column = 1,
                               .b = weights_ + share.begin,
                               .b_row = in_,
                               .c = floats(input_.gradient) + share.begin,
                               .c_row = in_,
                               .scratch = scratch_[static_cast<std::size_t>(part)].data()});
    });
  }

  const float* weights_;
  std::vector<FloatBuffer> scratch_, rows_;  // one for each thread
  FloatBuffer packed_;                       // the packed input, for the gradient of the weights
};

}  // namespace

std::unique_ptr<LayerKernel> make_dense(const LayerContext& context, const FullyConnected& layer,
                                        const LayerPlace& place) {
  return std::make_unique<Dense>(context, layer, place);
}

}  // namespace distmnist::cpu
