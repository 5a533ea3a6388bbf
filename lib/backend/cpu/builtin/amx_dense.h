// AMX dense: fully connected layers as bfloat16 products in AMX tiles.
#pragma once

#include <memory>

#include "lib/backend/cpu/layer_kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

struct AmxDenseForm {
  int planes = kRounded;  // of the factors (amx_kernels.h)
  bool logits = false;    // the output is not the factor of another product
};

// Like make_dense(), but with factors in AMX tiles. Its input need not be rounded. With one plane, its output is
// rounded for the next product, unless it is the logits. context.builtin.amx must not be null.
//
// The weights are also in a TileMatrix, as a left factor [out, in]. This single copy serves both products, because a
// column of its blocks is repacked in the L1 cache when the gradient of the input needs it. In resident training, a few
// rows of the weights' gradient at a time update their parameters, which are then packed again in the L2 cache.
std::unique_ptr<LayerKernel> make_amx_dense(const LayerContext& context, const FullyConnected& layer,
                                            const LayerPlace& place, const AmxDenseForm& form);

}  // namespace distmnist::cpu
