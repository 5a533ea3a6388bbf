#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "lib/backend/cpu/builtin/vector/vector_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC target("avx2,fma,bmi,bmi2,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")
#define DISTMNIST_KERNELS avx512
#define DISTMNIST_LANES 16
#define DISTMNIST_REGISTERS 32
#include "lib/backend/cpu/builtin/vector/kernels.inl"
#endif
