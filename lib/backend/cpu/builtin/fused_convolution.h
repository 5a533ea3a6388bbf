// Fused convolution: convolution, ReLU and 2x2 max-pool in one built-in kernel.
#pragma once

#include <memory>

#include "lib/backend/cpu/layer_kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

enum class FusedConvolution {
  kNone,      // there is no built-in kernel
  kDirect,    // for one input channel whose gradient is not needed: [batch, height, width]
  kWinograd,  // for images with channels last
};

// The kernel for this layer if ReLU and a 2x2 max-pool with stride 2 follow.
FusedConvolution fused_convolution_of(const Conv2d& layer);
// Whether `pool` can be fused with the convolution before it.
bool is_fusible(const MaxPool2d& pool);

// place.index is that of the convolution; the pool has the next one. The input is [batch, in, height, width] with
// channels last (for one channel, both layouts are the same). The output is [batch, out, height / 2, width / 2] with
// channels last, or in canonical order with `plain_output`.
std::unique_ptr<LayerKernel> make_fused_convolution(const LayerContext& context, const Conv2d& layer,
                                                    const LayerPlace& place, bool plain_output);

}  // namespace distmnist::cpu
