// Half precision: 16-bit floating-point numbers as bits, converted from float32 and back: bfloat16 (float32's exponent,
// 8 bits of significand) and IEEE 754 float16 (5 bits of exponent, 11 of significand).
#pragma once

#include <cstdint>
#include <span>

namespace distmnist {

// Rounds to nearest, ties to even. Numbers that are too large become infinity, NaN stays NaN, zeros keep their sign.
// The spans have equal lengths and do not overlap. The same bits on every processor.
void bf16_from_f32(std::span<const float> from, std::span<std::uint16_t> to);
void f16_from_f32(std::span<const float> from, std::span<std::uint16_t> to);

// Exact.
void f32_from_bf16(std::span<const std::uint16_t> from, std::span<float> to);
void f32_from_f16(std::span<const std::uint16_t> from, std::span<float> to);

// sum[i] += the number encoded in from[i].
void add_bf16(std::span<const std::uint16_t> from, std::span<float> sum);
void add_f16(std::span<const std::uint16_t> from, std::span<float> sum);

// The same, bit for bit, with instructions that every processor has. For tests.
void bf16_from_f32_portable(std::span<const float> from, std::span<std::uint16_t> to);
void f16_from_f32_portable(std::span<const float> from, std::span<std::uint16_t> to);
void f32_from_bf16_portable(std::span<const std::uint16_t> from, std::span<float> to);
void f32_from_f16_portable(std::span<const std::uint16_t> from, std::span<float> to);
void add_bf16_portable(std::span<const std::uint16_t> from, std::span<float> sum);
void add_f16_portable(std::span<const std::uint16_t> from, std::span<float> sum);

}  // namespace distmnist
