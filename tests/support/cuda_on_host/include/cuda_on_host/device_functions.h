// The variables and functions of device code that the toolkit's headers declare only for nvcc.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

// Blocks run one after the other, so all blocks can use the same shared memory.
#undef __shared__
#define __shared__ static
#ifndef __launch_bounds__
#define __launch_bounds__(...)
#endif

namespace cuda_on_host {

// A thread's indices, set before it runs and whenever it continues.
struct Place {
  uint3 thread, block;
  dim3 block_size, grid_size;
};
extern Place place;

void sync_threads();
void sync_warp(unsigned mask);
// The `value` of lane `source` of the warp; 0xFF in every byte if that lane made no call.
std::uint64_t shuffle(unsigned mask, std::uint64_t value, int source);
unsigned ballot(unsigned mask, bool predicate);
int lane();

template <typename T>
T shuffle_as(unsigned mask, T value, int source) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = shuffle(mask, bits, source);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace cuda_on_host

inline constexpr const uint3& threadIdx = cuda_on_host::place.thread;
inline constexpr const uint3& blockIdx = cuda_on_host::place.block;
inline constexpr const dim3& blockDim = cuda_on_host::place.block_size;
inline constexpr const dim3& gridDim = cuda_on_host::place.grid_size;
inline constexpr int warpSize = 32;

inline void __syncthreads() {
  cuda_on_host::sync_threads();
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  cuda_on_host::sync_warp(mask);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// A lane that reads beyond its segment of `width` lanes gets its own value.
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize) {
  const int first = cuda_on_host::lane() / width * width;
  return cuda_on_host::shuffle_as(mask, value, first + (source & (width - 1)));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize) {
  const int lane = cuda_on_host::lane();
  const int source = lane ^ bits;
  return cuda_on_host::shuffle_as(mask, value, source < (lane / width + 1) * width ? source : lane);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = warpSize) {
  const int lane = cuda_on_host::lane();
  const int source = lane + static_cast<int>(distance);
  return cuda_on_host::shuffle_as(mask, value, source < (lane / width + 1) * width ? source : lane);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = warpSize) {
  const int lane = cuda_on_host::lane();
  const int source = lane - static_cast<int>(distance);
  return cuda_on_host::shuffle_as(mask, value, source >= lane / width * width ? source : lane);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return cuda_on_host::ballot(mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) {
  return cuda_on_host::ballot(mask, predicate != 0) != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return cuda_on_host::ballot(mask, predicate == 0) == 0;
}

// Only one thread runs at a time, without interruption between two numbers.
template <typename T>
T atomicAdd(T* into, std::type_identity_t<T> value) {
  const T before = *into;
  *into = before + value;
  return before;
}
template <typename T>
T atomicMax(T* into, std::type_identity_t<T> value) {
  const T before = *into;
  if (before < value) *into = value;
  return before;
}

template <typename T>
T __ldg(const T* from) {
  return *from;
}

inline float __fdividef(float x, float y) {
  return x / y;
}
inline float __fdiv_rn(float x, float y) {
  return x / y;
}
inline float __fmul_rn(float x, float y) {
  return x * y;
}
inline float __fadd_rn(float x, float y) {
  return x + y;
}
inline float __fsub_rn(float x, float y) {
  return x - y;
}
inline float __fmaf_rn(float x, float y, float z) {
  return std::fma(x, y, z);
}
inline float __fsqrt_rn(float x) {
  return std::sqrt(x);
}
inline float rsqrtf(float x) {
  return 1.0F / std::sqrt(x);
}
// The C library declares functions with these names.
#define __expf(x) (::expf(x))
#define __logf(x) (::logf(x))
#define __powf(x, y) (::powf(x, y))

inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline int __ffs(int x) {
  return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1;
}
template <typename A, typename B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  return b < a ? b : a;
}
template <typename A, typename B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  return a < b ? b : a;
}
