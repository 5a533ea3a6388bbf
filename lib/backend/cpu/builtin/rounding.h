// bfloat16 stored as float32: if the processor has no bfloat16 products, factors are rounded to bfloat16 and multiplied
// as float32, which is exact.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <span>

#include "lib/backend/cpu/layer_kernel.h"

namespace distmnist::cpu {

// Rounded to 8 bits of mantissa, to nearest, ties to even.
inline float rounded_to_bf16(float number) {
  const auto bits = std::bit_cast<std::uint32_t>(number);
  const std::uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000;
  // NaN is not changed: rounding up could turn it into an infinity or zero.
  return number == number ? std::bit_cast<float>(rounded) : number;
}

// `to` has from.size() floats and may be `from` itself.
inline void round_to_bf16(std::span<const float> from, float* to) {
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = rounded_to_bf16(from[i]);
}

// Rounds a tensor in place: the value unless `gradient_only`, and the gradient in the backward pass.
std::unique_ptr<LayerKernel> make_rounding(ThreadPool& pool, const Tensor& tensor, bool gradient_only);

// Makes a rounded copy of the graph's input, which belongs to the caller.
std::unique_ptr<LayerKernel> make_rounded_copy(const Tensor& input, const Tensor& output);

}  // namespace distmnist::cpu
