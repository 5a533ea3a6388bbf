#include "lib/backend/cpu/dense.h"

#include <algorithm>
#include <vector>

namespace distmnist::cpu {
namespace {

// Below this a product is done before another thread has woken up.
constexpr std::int64_t kSharedProducts = 500'000;  // multiply-adds

// Columns of the input that a thread takes at once: a block of the kernels, so nothing is read more often than by one
// thread.
constexpr std::int64_t kDataColumns = 64;

class Dense final : public Kernel {
 public:
  Dense(const OwnKernels& own, const FullyConnected& layer, std::size_t index, Parameters& parameters,
        const Tensor& input, const Tensor& output)
      : own_(own),
        layer_(layer),
        index_(index),
        parameters_(parameters),
        input_(input),
        output_(output),
        batch_(dims_of(output.layout())[0]),
        in_(layer.input.size()),
        out_(layer.output.size()),
        packed_(static_cast<std::size_t>(packs_input() ? panels_size(in_, batch_) : 0)) {
    for (int part = 0; part < own.pool.size(); ++part) {
      scratch_.emplace_back(static_cast<std::size_t>(kProductScratch));
      rows_.emplace_back(static_cast<std::size_t>(packs_input() ? kProductRows * in_ : 0));
    }
  }

  // y = x W^T + b
  void forward(const Step&) override {
    share(out_, kRowProductColumns, [&](int, const Share& share) {
      own_.vector.row_products({.rows = batch_,
                                .columns = share.size(),
                                .depth = in_,
                                .a = floats(input_.value),
                                .a_row = in_,
                                .b = parameters_.factors(layer_.weights) + share.begin * in_,
                                .b_row = in_,
                                .biases = parameters_.address(layer_.biases) + share.begin,
                                .relu = layer_.activation == Activation::kRelu,
                                .c = floats(output_.value) + share.begin,
                                .c_row = out_});
    });
  }

  void backward(const Step& step) override {
    if (layer_.activation == Activation::kRelu) stop_at_relu();
    backward_biases();
    if (step.resident() && packs_input()) {
      backward_data();  // Before the weights change.
      update_weights();
      step.report(layer_.biases);
    } else {
      backward_weights();
      step.report(layer_.weights);
      step.report(layer_.biases);
      backward_data();
    }
  }

  void add_choices(std::vector<LayerChoices>& choices) const override {
    if (layer_.activation != Activation::kRelu) return;
    choices.push_back(relu_choices(index_, {floats(output_.value), static_cast<std::size_t>(batch_ * out_)}));
  }

 private:
  // Shares 0 .. size - 1 among the threads in pieces of `unit`.
  template <typename Work>
  void share(std::int64_t size, std::int64_t unit, const Work& work) {
    if (batch_ * in_ * out_ < kSharedProducts) return work(0, Share{0, size});
    own_.pool.run_pieces(size, unit, work);
  }

  void stop_at_relu() {
    const float* output = floats(output_.value);
    float* gradient = floats(output_.gradient);
    for (std::int64_t i = 0; i < batch_ * out_; ++i) gradient[i] = output[i] > 0.0f ? gradient[i] : 0.0f;
  }

  void backward_biases() {
    const std::span<float> sums = parameters_.gradients(layer_.biases);
    const float* row = floats(output_.gradient);
    std::ranges::fill(sums, 0.0f);
    for (std::int64_t n = 0; n < batch_; ++n, row += out_) {
      for (std::int64_t o = 0; o < out_; ++o) sums[static_cast<std::size_t>(o)] += row[o];
    }
  }

  bool packs_input() const { return batch_ <= kProductDepth; }

  void pack_input() {
    share(in_, kDataColumns, [&](int, const Share& columns) {
      own_.vector.pack({.columns = columns.size(),
                        .depth = batch_,
                        .b = floats(input_.value) + columns.begin,
                        .b_row = in_,
                        .packed = packed_.data() + columns.begin * batch_});
    });
  }

  // `rows` of dW [out, in] = dy^T x, to `to`.
  void weight_rows(int part, const Share& rows, float* to) {
    own_.vector.product({.rows = rows.size(),
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

  void backward_weights() {
    if (packs_input()) pack_input();
    // A piece of a larger batch packs the input anew.
    const std::int64_t unit = packs_input() ? kProductRows : (out_ + own_.pool.size() - 1) / own_.pool.size();
    share(out_, unit, [&](int part, const Share& rows) {
      weight_rows(part, rows, parameters_.gradient_address(layer_.weights) + rows.begin * in_);
    });
  }

  // A few rows of dW at a time, whose parameters and slots lie one behind the other: memory is fastest in order.
  void update_weights() {
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

  // dx [batch, in] = dy W
  void backward_data() {
    if (!input_.needs_gradient()) return;
    share(in_, kDataColumns, [&](int part, const Share& share) {
      own_.vector.product({.rows = batch_,
                           .columns = share.size(),
                           .depth = out_,
                           .a = floats(output_.gradient),
                           .a_row = out_,
                           .a_column = 1,
                           .b = parameters_.factors(layer_.weights) + share.begin,
                           .b_row = in_,
                           .c = floats(input_.gradient) + share.begin,
                           .c_row = in_,
                           .scratch = scratch_[static_cast<std::size_t>(part)].data()});
    });
  }

  OwnKernels own_;
  FullyConnected layer_;
  std::size_t index_;
  Parameters& parameters_;
  Tensor input_, output_;
  std::int64_t batch_, in_, out_;
  std::vector<FloatBuffer> scratch_, rows_;  // one for each thread
  FloatBuffer packed_;                       // the input, for the gradient of the weights
};

}  // namespace

std::unique_ptr<Kernel> make_dense(const OwnKernels& own, const FullyConnected& layer, std::size_t index,
                                   Parameters& parameters, const Tensor& input, const Tensor& output) {
  return std::make_unique<Dense>(own, layer, index, parameters, input, output);
}

}  // namespace distmnist::cpu
