#include "lib/backend/cpu/builtin/fused_convolution_base.h"

#include <algorithm>
#include <utility>

namespace distmnist::cpu {

ConvolutionShape shape_of(const Conv2d& layer) {
  return {.height = layer.input.height,
          .width = layer.input.width,
          .in = layer.input.channels,
          .out = layer.output.channels,
          .window_height = layer.window.height,
          .window_width = layer.window.width};
}

FusedConvolutionBase::FusedConvolutionBase(const LayerContext& context, const Conv2d& layer, const LayerPlace& place,
                                           const FusedConvolutionForm& form)
    : builtin_(context.builtin),
      layer_(layer),
      parameters_(context.parameters),
      input_(place.input),
      output_(place.output),
      shape_(shape_of(layer)),
      index_(place.index),
      plain_output_(form.plain_output),
      batch_(place.batch()),
      sums_size_(form.sums_size),
      at_once_(std::min(form.at_once,
                        (batch_ + builtin_.pool.size() - 1) / builtin_.pool.size())),  // leaves work for each thread
      in_unit_(form.in_unit),
      taps_(shape_.window_height * shape_.window_width),
      factors_(form.rounds_weights ? parameters_.address(layer.weights) : parameters_.factors(layer.weights)),
      weights_(static_cast<std::size_t>(taps_ * shape_.in * shape_.out)),
      choices_(static_cast<std::size_t>(batch_ * shape_.pooled_size())) {
  for (int part = 0; part < builtin_.pool.size(); ++part) {
    threads_.push_back({FloatBuffer(static_cast<std::size_t>(plain_output_ ? at_once_ * shape_.pooled_size() : 0)),
                        FloatBuffer(static_cast<std::size_t>(sums_size_)),
                        FloatBuffer(static_cast<std::size_t>(shape_.out))});
  }
}

void FusedConvolutionBase::forward(const Step&) {
  refresh_weights();
  builtin_.pool.run_pieces(batch_, at_once_, [&](int part, const Share& images) {
    float* const values = floats(output_.value) + images.begin * shape_.pooled_size();
    float* const pooled = plain_output_ ? threads_[static_cast<std::size_t>(part)].pooled.data() : values;
    forward_images({part, images.size(), floats(input_.value) + images.begin * image_size()},
                   {pooled, choices_of(images.begin)});
    if (!plain_output_) return;
    for (std::int64_t at = 0; at < images.size() * shape_.pooled_size(); at += shape_.pooled_size()) {
      builtin_.vector.transpose({pixels(), shape_.out, pooled + at, shape_.out, values + at, pixels()});
    }
  });
}

void FusedConvolutionBase::backward(const Step& step) {
  builtin_.pool.run([&](int part) {
    Thread& thread = threads_[static_cast<std::size_t>(part)];
    std::ranges::fill(thread.weight_sums.span(), 0.0f);
    std::ranges::fill(thread.bias_sums.span(), 0.0f);
    const Share images = share_of(batch_, part, builtin_.pool.size());
    for (std::int64_t first = images.begin; first < images.end; first += at_once_) {
      const std::int64_t count = std::min(at_once_, images.end - first);
      const float* values = floats(output_.gradient) + first * shape_.pooled_size();
      if (plain_output_) {
        for (std::int64_t at = 0; at < count * shape_.pooled_size(); at += shape_.pooled_size()) {
          builtin_.vector.transpose(
              {shape_.out, pixels(), values + at, pixels(), thread.pooled.data() + at, shape_.out});
        }
        values = thread.pooled.data();
      }
      backward_images({part, count, floats(input_.value) + first * image_size()}, {values, choices_of(first)},
                      input_.needs_gradient() ? floats(input_.gradient) + first * image_size() : nullptr);
    }
  });
  finish_gradients();
  step.report(layer_.weights);
  step.report(layer_.biases);
}

// The threads' sums are added in thread order, whichever thread does it.
void FusedConvolutionBase::finish_gradients() {
  const auto add_up = [&](FloatBuffer Thread::*sums, const Share& share) {
    float* const total = (threads_[0].*sums).data();
    for (std::size_t thread = 1; thread < threads_.size(); ++thread) {
      const float* const others = (threads_[thread].*sums).data();
      for (std::int64_t i = share.begin; i < share.end; ++i) total[i] += others[i];
    }
  };
  constexpr std::int64_t kUnit = 64;
  if (builtin_.pool.size() > 1) {
    builtin_.pool.run(
        [&](int part) { add_up(&Thread::weight_sums, share_of(sums_size_, part, builtin_.pool.size(), kUnit)); });
    add_up(&Thread::bias_sums, {0, shape_.out});
  }
  std::ranges::copy(threads_[0].bias_sums.span(), parameters_.gradients(layer_.biases).begin());
  builtin_.pool.run([&](int part) {
    const Share in = share_of(shape_.in, part, builtin_.pool.size(), in_unit_);
    if (in.size() > 0) finish_weight_gradient(threads_[0].weight_sums.data(), in);
  });
}

// Pixels that are not the maximum of their window pass no gradient, whatever ReLU does with them.
void FusedConvolutionBase::add_choices(std::vector<LayerChoices>& choices) const {
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

void FusedConvolutionBase::put_weight_gradient(const float* gradient, const Share& in) {
  float* const to = parameters_.gradient_address(layer_.weights);
  for (std::int64_t ci = in.begin; ci < in.end; ++ci) {
    builtin_.vector.transpose(
        {taps_, shape_.out, gradient + ci * shape_.out, shape_.in * shape_.out, to + ci * taps_, shape_.in * taps_});
  }
}

void FusedConvolutionBase::refresh_weights() {
  if (version_ == parameters_.version(layer_.weights)) return;
  version_ = parameters_.version(layer_.weights);
  builtin_.pool.run([&](int part) {
    const Share in = share_of(shape_.in, part, builtin_.pool.size(), kChannelShare);
    for (std::int64_t ci = in.begin; ci < in.end; ++ci) {
      builtin_.vector.transpose({shape_.out, taps_, factors_ + ci * taps_, shape_.in * taps_,
                                 weights_.data() + ci * shape_.out, shape_.in * shape_.out});
    }
  });
  prepare_weights();
}

}  // namespace distmnist::cpu
