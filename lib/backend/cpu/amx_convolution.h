// Convolution, relu and 2x2 max-pool in one, by products of bfloat16 in AMX's tiles.
#pragma once

#include <memory>

#include "lib/backend/cpu/kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

// Whether tiles serve a layer that make_fused_convolution() takes.
bool fits_tiles(const Conv2d& layer);

// As make_fused_convolution(), of factors rounded to bfloat16. What it takes need not be rounded; its output is, for
// the next product. own.amx is not null.
std::unique_ptr<Kernel> make_amx_convolution(const OwnKernels& own, const Conv2d& layer, std::size_t index,
                                             Parameters& parameters, const Tensor& input, const Tensor& output,
                                             bool plain_output);

}  // namespace distmnist::cpu
