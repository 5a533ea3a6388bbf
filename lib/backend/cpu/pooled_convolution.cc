#include "lib/backend/cpu/pooled_convolution.h"

#include <algorithm>
#include <utility>

namespace distmnist::cpu {
namespace {

// [rows, columns] to [columns, rows].
void transpose(const float* from, std::int64_t rows, std::int64_t columns, float* to) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) to[column * rows + row] = from[row * columns + column];
  }
}

}  // namespace

ConvolutionShape shape_of(const Conv2d& layer) {
  return {.height = layer.input.height,
          .width = layer.input.width,
          .in = layer.input.channels,
          .out = layer.output.channels,
          .window_height = layer.window.height,
          .window_width = layer.window.width};
}

PooledConvolution::PooledConvolution(const OwnKernels& own, const Conv2d& layer, std::size_t index,
                                     Parameters& parameters, const Tensor& input, const Tensor& output,
                                     bool plain_output, std::int64_t sums_size)
    : own_(own),
      layer_(layer),
      parameters_(parameters),
      input_(input),
      output_(output),
      shape_(shape_of(layer)),
      index_(index),
      plain_output_(plain_output),
      batch_(dims_of(output.layout())[0]),
      sums_size_(sums_size),
      taps_(shape_.window_height * shape_.window_width),
      weights_(static_cast<std::size_t>(taps_ * shape_.in * shape_.out)),
      choices_(static_cast<std::size_t>(batch_ * shape_.pooled_size())) {
  for (int part = 0; part < own.pool.size(); ++part) {
    threads_.push_back({FloatBuffer(static_cast<std::size_t>(shape_.pooled_size())),
                        FloatBuffer(static_cast<std::size_t>(sums_size)),
                        FloatBuffer(static_cast<std::size_t>(shape_.out))});
  }
}

void PooledConvolution::forward(const Step&) {
  refresh_weights();
  own_.pool.run([&](int part) {
    Thread& thread = threads_[static_cast<std::size_t>(part)];
    const Share images = share_of(batch_, part, own_.pool.size());
    for (std::int64_t n = images.begin; n < images.end; ++n) {
      float* const values = floats(output_.value) + n * shape_.pooled_size();
      forward_image(part, floats(input_.value) + n * image_size(),
                    {plain_output_ ? thread.pooled.data() : values, choices_of(n)});
      if (plain_output_) transpose(thread.pooled.data(), pixels(), shape_.out, values);
    }
  });
}

void PooledConvolution::backward(const Step& step) {
  own_.pool.run([&](int part) {
    Thread& thread = threads_[static_cast<std::size_t>(part)];
    std::ranges::fill(thread.weight_sums.span(), 0.0f);
    std::ranges::fill(thread.bias_sums.span(), 0.0f);
    const Share images = share_of(batch_, part, own_.pool.size());
    for (std::int64_t n = images.begin; n < images.end; ++n) {
      const float* values = floats(output_.gradient) + n * shape_.pooled_size();
      if (plain_output_) {
        transpose(values, shape_.out, pixels(), thread.pooled.data());
        values = thread.pooled.data();
      }
      backward_image(part, floats(input_.value) + n * image_size(), {values, choices_of(n)},
                     input_.needs_gradient() ? floats(input_.gradient) + n * image_size() : nullptr);
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
void PooledConvolution::add_choices(std::vector<LayerChoices>& choices) const {
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

void PooledConvolution::put_weight_gradient(const float* gradient) {
  float* const to = parameters_.gradient_address(layer_.weights);
  for (std::int64_t tap = 0; tap < taps_; ++tap) {
    for (std::int64_t ci = 0; ci < shape_.in; ++ci) {
      for (std::int64_t co = 0; co < shape_.out; ++co) to[(co * shape_.in + ci) * taps_ + tap] = *gradient++;
    }
  }
}

void PooledConvolution::refresh_weights() {
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
void PooledConvolution::add_up(std::int64_t size, const Floats& floats_of) {
  for (std::size_t thread = 1; thread < threads_.size(); ++thread) {
    float* const sums = floats_of(threads_[0]);
    const float* const others = floats_of(threads_[thread]);
    for (std::int64_t i = 0; i < size; ++i) sums[i] += others[i];
  }
}

}  // namespace distmnist::cpu
