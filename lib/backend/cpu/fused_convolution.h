// Convolution, relu and 2x2 max-pool in one, by our own kernels.
#pragma once

#include <memory>

#include "lib/backend/cpu/kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

enum class FusedConvolution {
  kNone,      // there is no kernel of our own
  kDirect,    // of one channel, whose gradient nobody wants: [batch, height, width]
  kWinograd,  // of images with channels last
};

// What serves this layer where relu and a 2x2 max-pool of stride 2 follow.
FusedConvolution fused_convolution_of(const Conv2d& layer);
// Whether `pool` may be fused with the convolution before it.
bool is_fusible(const MaxPool2d& pool);

// Layer `index` of the graph and the pool after it. `input` is [batch, in, height, width] with channels last (of one
// channel both layouts are the same), `output` [batch, out, height / 2, width / 2] with channels last, or, with
// `plain_output`, in canonical order.
std::unique_ptr<Kernel> make_fused_convolution(const OwnKernels& own, const Conv2d& layer, std::size_t index,
                                               Parameters& parameters, const Tensor& input, const Tensor& output,
                                               bool plain_output);

}  // namespace distmnist::cpu
