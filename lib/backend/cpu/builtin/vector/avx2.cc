#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "lib/backend/cpu/builtin/vector/vector_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC target("avx2,fma,bmi,bmi2")
#define DISTMNIST_KERNELS avx2
#define DISTMNIST_LANES 8
#define DISTMNIST_REGISTERS 16
#include "lib/backend/cpu/builtin/vector/kernels.inl"
#endif
