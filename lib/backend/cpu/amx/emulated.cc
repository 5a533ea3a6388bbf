#include <cstddef>
#include <cstdint>

#include "lib/backend/cpu/amx/amx_kernels.h"

#define DISTMNIST_AMX_KERNELS emulated
#define DISTMNIST_TILES "lib/backend/cpu/amx/emulated_tiles.inl"
#include "lib/backend/cpu/amx/kernels.inl"

namespace distmnist::cpu {

const AmxKernels& emulated_amx_kernels() {
  return emulated::kAmxKernels;
}

}  // namespace distmnist::cpu
