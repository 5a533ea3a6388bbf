// Simple layers: kernels for single layers without variables.
#pragma once

#include <memory>

#include "lib/backend/cuda/layer_kernel.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

std::unique_ptr<LayerKernel> make_simple_layer(const LayerContext& context, const MaxPool2d& layer,
                                               const LayerPlace& place);
std::unique_ptr<LayerKernel> make_simple_layer(const LayerContext& context, const AvgPool2d& layer,
                                               const LayerPlace& place);
std::unique_ptr<LayerKernel> make_simple_layer(const LayerContext& context, const ElementwiseLayer& layer,
                                               const LayerPlace& place);
// The same numbers in a different type, layout or shape.
std::unique_ptr<LayerKernel> make_conversion(const LayerPlace& place);

}  // namespace distmnist::cuda
