#include <cassert>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "lib/backend/cpu/builtin/amx/amx_kernels.h"

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi,bmi2,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")
#define DISTMNIST_AMX_KERNELS hardware
#define DISTMNIST_TILES "lib/backend/cpu/builtin/amx/hardware_tiles.inl"
#include "lib/backend/cpu/builtin/amx/kernels.inl"
#pragma GCC pop_options
#endif

namespace distmnist::cpu {

const AmxKernels& amx_kernels() {
#if defined(__x86_64__)
  return hardware::kAmxKernels;
#else
  assert(!"no processor of this kind has AMX");
  __builtin_unreachable();
#endif
}

}  // namespace distmnist::cpu
