// AMX convolution: fused convolution, ReLU and 2x2 max-pool, as products in AMX tiles.
#pragma once

#include <memory>

#include "lib/backend/cpu/layer_kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

// Whether the AMX kernels support a layer that make_fused_convolution() accepts.
bool fits_tiles(const Conv2d& layer);

struct AmxConvolutionForm {
  bool plain_output = false;  // as in make_fused_convolution()
  int planes = kRounded;      // of the factors (amx_kernels.h)
};

// Like make_fused_convolution(), but with factors in AMX tiles. Its input need not be rounded. With one plane, its
// output is rounded for the next product. context.builtin.amx must not be null.
std::unique_ptr<LayerKernel> make_amx_convolution(const LayerContext& context, const Conv2d& layer,
                                                  const LayerPlace& place, const AmxConvolutionForm& form);

}  // namespace distmnist::cpu
