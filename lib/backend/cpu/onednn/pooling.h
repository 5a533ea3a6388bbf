// Pooling: max and average pooling with oneDNN.
#pragma once

#include <memory>

#include "lib/backend/cpu/layer_kernel.h"

namespace distmnist::cpu {

struct PoolingForm {
  dnnl::algorithm algorithm;  // pooling_max or an average
  Window window;              // never padded
};

// The primitive descriptor of a pooling layer for an input in the given layout; its dst_desc() is the output's layout.
dnnl::pooling_forward::primitive_desc pooling_descriptor(const Device& device, const PoolingForm& form,
                                                         const dnnl::memory::desc& input,
                                                         const dnnl::memory::dims& output);

// The tensors of `place` must have the layouts of `descriptor`.
std::unique_ptr<LayerKernel> make_pooling(const Device& device, const PoolingForm& form, const LayerPlace& place,
                                          const dnnl::pooling_forward::primitive_desc& descriptor);

}  // namespace distmnist::cpu
