// Fully connected layers by products of bfloat16 in AMX's tiles.
#pragma once

#include <memory>

#include "lib/backend/cpu/kernel.h"
#include "lib/backend/cpu/parameters.h"

namespace distmnist::cpu {

// As make_dense(), of factors in `planes` (amx_kernels.h). What it takes need not be rounded; of one plane its output
// is, for the next product, unless it is `logits`. own.amx is not null.
//
// The weights lie in tiles as a left factor [out, in] beside the float32 ones: the one copy serves both products, for a
// column of its blocks is repacked in the first-level cache when the gradient of the input needs it. In resident
// training a few rows of the weights' gradient at a time update their parameters, which are packed anew, in the second.
std::unique_ptr<Kernel> make_amx_dense(const OwnKernels& own, const FullyConnected& layer, std::size_t index,
                                       Parameters& parameters, const Tensor& input, const Tensor& output, int planes,
                                       bool logits);

}  // namespace distmnist::cpu
