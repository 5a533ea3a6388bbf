// AMX convolution: fused convolution, ReLU and 2x2 max-pool, as bfloat16 products in AMX tiles.
#pragma once

#include <memory>

#include "lib/backend/cpu/layer_kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

// Whether the AMX kernels support a layer that make_fused_convolution() accepts.
bool fits_tiles(const Conv2d& layer);

// Like make_fused_convolution(), but with factors rounded to bfloat16. Its input need not be rounded; its output is
// rounded for the next product. context.builtin.amx must not be null.
std::unique_ptr<LayerKernel> make_amx_convolution(const LayerContext& context, const Conv2d& layer,
                                                  const LayerPlace& place, bool plain_output);

}  // namespace distmnist::cpu
