// bfloat16 in float32's clothes: where the processor has no products of bfloat16, factors are rounded to it and
// multiplied as float32, which is exact.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <span>

#include "lib/backend/cpu/kernel.h"

namespace distmnist::cpu {

// Rounded to 8 bits of mantissa, to nearest, ties to even.
inline float rounded_to_bf16(float number) {
  const auto bits = std::bit_cast<std::uint32_t>(number);
  const std::uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000;
  // NaN stays what it is: rounding up could make it an infinity, or zero.
  return number == number ? std::bit_cast<float>(rounded) : number;
}

// `to` has from.size() floats and may be `from` itself.
inline void round_to_bf16(std::span<const float> from, float* to) {
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = rounded_to_bf16(from[i]);
}

// Rounds what lies in a tensor, where it lies: the value unless `gradient_only`, and its gradient on the way back.
std::unique_ptr<Kernel> make_rounding(const OwnKernels& own, const Tensor& tensor, bool gradient_only);

// A rounded copy of the graph's input, whose memory belongs to the caller.
std::unique_ptr<Kernel> make_rounded_copy(const Tensor& input, const Tensor& output);

}  // namespace distmnist::cpu
