// Simple layers: kernels for single layers without variables.
#pragma once

#include <cstdint>
#include <memory>

#include "lib/backend/cuda/layer_kernel.h"
#include "lib/graph/graph.h"

namespace distmnist::cuda {

std::unique_ptr<LayerKernel> make_max_pool(const MaxPool2d& layer, const LayerContext& context, const Tensor& input,
                                           const Tensor& output);
std::unique_ptr<LayerKernel> make_avg_pool(const AvgPool2d& layer, const Tensor& input, const Tensor& output);
std::unique_ptr<LayerKernel> make_relu(const Tensor& input, const Tensor& output);
// `seed` and `stream` are those of CompileOptions.
std::unique_ptr<LayerKernel> make_dropout(const Dropout& layer, std::uint64_t seed, std::uint64_t stream,
                                          const Tensor& input, const Tensor& output);
// The same numbers in a different type, layout or shape.
std::unique_ptr<LayerKernel> make_conversion(const Tensor& input, const Tensor& output);

}  // namespace distmnist::cuda
