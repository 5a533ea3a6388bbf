#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>  // these kernels only use instructions that the whole program may use
#endif

#include "lib/backend/cpu/builtin/amx/amx_kernels.h"

#define DISTMNIST_AMX_KERNELS emulated
#define DISTMNIST_TILES "lib/backend/cpu/builtin/amx/emulated_tiles.inl"
#include "lib/backend/cpu/builtin/amx/kernels.inl"

namespace distmnist::cpu {

const AmxKernels& emulated_amx_kernels() {
  return emulated::kAmxKernels;
}

}  // namespace distmnist::cpu
