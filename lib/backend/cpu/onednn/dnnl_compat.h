// oneDNN compatibility: one set of functions for oneDNN 2.x and 3.x. 3.0 removed operation descriptors, so a primitive
// descriptor is created directly from the engine and the arguments. The rest of this folder uses only these functions.
#pragma once

#include <oneapi/dnnl/dnnl_version.h>
#include <oneapi/dnnl/dnnl.hpp>

namespace distmnist::cpu {

// A window over an image. Each member has two entries, rows and columns, in pixels.
struct WindowDims {
  dnnl::memory::dims kernel, strides, pad_before, pad_after;
};

// The layouts of a layer's operands; for a backward pass, those of the gradients.
struct ConvolutionOperands {
  dnnl::memory::desc source, weights, biases, destination;  // the gradient of the source has no biases
  WindowDims window;
};
struct PoolingOperands {
  dnnl::algorithm algorithm;
  dnnl::memory::desc source, destination;
  WindowDims window;
};
// destination [m, n] = source [m, k] weights [k, n] + biases [1, n], or without biases if their layout is empty.
struct MatmulOperands {
  dnnl::memory::desc source, weights, biases, destination;
};

#if DNNL_VERSION_MAJOR >= 3

inline dnnl::memory::dims dims_of(const dnnl::memory::desc& layout) {
  return layout.get_dims();
}

inline void append_relu(dnnl::post_ops& operations) {
  operations.append_eltwise(dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
}

inline auto convolution_forward_descriptor(const dnnl::engine& engine, const ConvolutionOperands& o,
                                           const dnnl::primitive_attr& attributes) {
  return dnnl::convolution_forward::primitive_desc(
      engine, dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, o.source, o.weights, o.biases,
      o.destination, o.window.strides, o.window.pad_before, o.window.pad_after, attributes);
}

inline auto convolution_backward_weights_descriptor(const dnnl::engine& engine, const ConvolutionOperands& o,
                                                    const dnnl::primitive_attr& attributes,
                                                    const dnnl::convolution_forward::primitive_desc& forward) {
  return dnnl::convolution_backward_weights::primitive_desc(
      engine, dnnl::algorithm::convolution_direct, o.source, o.weights, o.biases, o.destination, o.window.strides,
      o.window.pad_before, o.window.pad_after, forward, attributes);
}

inline auto convolution_backward_data_descriptor(const dnnl::engine& engine, const ConvolutionOperands& o,
                                                 const dnnl::primitive_attr& attributes,
                                                 const dnnl::convolution_forward::primitive_desc& forward) {
  return dnnl::convolution_backward_data::primitive_desc(engine, dnnl::algorithm::convolution_direct, o.source,
                                                         o.weights, o.destination, o.window.strides,
                                                         o.window.pad_before, o.window.pad_after, forward, attributes);
}

inline auto pooling_forward_descriptor(const dnnl::engine& engine, const PoolingOperands& o,
                                       const dnnl::primitive_attr& attributes) {
  return dnnl::pooling_forward::primitive_desc(engine, dnnl::prop_kind::forward_training, o.algorithm, o.source,
                                               o.destination, o.window.strides, o.window.kernel, {0, 0},
                                               o.window.pad_before, o.window.pad_after, attributes);
}

inline auto pooling_backward_descriptor(const dnnl::engine& engine, const PoolingOperands& o,
                                        const dnnl::primitive_attr& attributes,
                                        const dnnl::pooling_forward::primitive_desc& forward) {
  return dnnl::pooling_backward::primitive_desc(engine, o.algorithm, o.source, o.destination, o.window.strides,
                                                o.window.kernel, {0, 0}, o.window.pad_before, o.window.pad_after,
                                                forward, attributes);
}

inline auto matmul_descriptor(const dnnl::engine& engine, const MatmulOperands& o,
                              const dnnl::primitive_attr& attributes) {
  return dnnl::matmul::primitive_desc(engine, o.source, o.weights, o.biases, o.destination, attributes);
}

#else

inline dnnl::memory::dims dims_of(const dnnl::memory::desc& layout) {
  return layout.dims();
}

inline void append_relu(dnnl::post_ops& operations) {
  operations.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
}

inline auto convolution_forward_descriptor(const dnnl::engine& engine, const ConvolutionOperands& o,
                                           const dnnl::primitive_attr& attributes) {
  return dnnl::convolution_forward::primitive_desc(
      {dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, o.source, o.weights, o.biases,
       o.destination, o.window.strides, o.window.pad_before, o.window.pad_after},
      attributes, engine);
}

inline auto convolution_backward_weights_descriptor(const dnnl::engine& engine, const ConvolutionOperands& o,
                                                    const dnnl::primitive_attr& attributes,
                                                    const dnnl::convolution_forward::primitive_desc& forward) {
  return dnnl::convolution_backward_weights::primitive_desc(
      {dnnl::algorithm::convolution_direct, o.source, o.weights, o.biases, o.destination, o.window.strides,
       o.window.pad_before, o.window.pad_after},
      attributes, engine, forward);
}

inline auto convolution_backward_data_descriptor(const dnnl::engine& engine, const ConvolutionOperands& o,
                                                 const dnnl::primitive_attr& attributes,
                                                 const dnnl::convolution_forward::primitive_desc& forward) {
  return dnnl::convolution_backward_data::primitive_desc(
      {dnnl::algorithm::convolution_direct, o.source, o.weights, o.destination, o.window.strides, o.window.pad_before,
       o.window.pad_after},
      attributes, engine, forward);
}

inline auto pooling_forward_descriptor(const dnnl::engine& engine, const PoolingOperands& o,
                                       const dnnl::primitive_attr& attributes) {
  return dnnl::pooling_forward::primitive_desc(
      {dnnl::prop_kind::forward_training, o.algorithm, o.source, o.destination, o.window.strides, o.window.kernel,
       o.window.pad_before, o.window.pad_after},
      attributes, engine);
}

inline auto pooling_backward_descriptor(const dnnl::engine& engine, const PoolingOperands& o,
                                        const dnnl::primitive_attr& attributes,
                                        const dnnl::pooling_forward::primitive_desc& forward) {
  return dnnl::pooling_backward::primitive_desc({o.algorithm, o.source, o.destination, o.window.strides,
                                                 o.window.kernel, o.window.pad_before, o.window.pad_after},
                                                attributes, engine, forward);
}

inline auto matmul_descriptor(const dnnl::engine& engine, const MatmulOperands& o,
                              const dnnl::primitive_attr& attributes) {
  return dnnl::matmul::primitive_desc({o.source, o.weights, o.biases, o.destination}, attributes, engine);
}

#endif

}  // namespace distmnist::cpu
