#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "lib/backend/cpu/builtin/vector/vector_kernels.h"

#define DISTMNIST_KERNELS portable
#define DISTMNIST_LANES 4
#define DISTMNIST_REGISTERS 16
#include "lib/backend/cpu/builtin/vector/kernels.inl"
