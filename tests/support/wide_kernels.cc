// The kernels in the shape that AVX-512 gives them, 16 floats to a vector and 32 registers, in the instructions that
// every processor has: so this shape is tested on each.
#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>  // of which these kernels use what the whole program may
#endif

#include "lib/backend/cpu/builtin/vector/vector_kernels.h"

#define DISTMNIST_KERNELS wide
#define DISTMNIST_LANES 16
#define DISTMNIST_REGISTERS 32
#include "lib/backend/cpu/builtin/vector/kernels.inl"
