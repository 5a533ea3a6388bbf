// The kernels in AVX-512's shape (16 floats per vector and 32 registers) with instructions that every processor
// supports, so that this shape is tested everywhere.
#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>  // these kernels only use instructions that the whole program may use
#endif

#include "lib/backend/cpu/builtin/vector/vector_kernels.h"

#define DISTMNIST_KERNELS wide
#define DISTMNIST_LANES 16
#define DISTMNIST_REGISTERS 32
#include "lib/backend/cpu/builtin/vector/kernels.inl"
