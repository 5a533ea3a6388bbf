#include <cstddef>
#include <cstdint>

#include "lib/backend/cpu/builtin/amx/amx_kernels.h"

#define DISTMNIST_AMX_KERNELS emulated
#define DISTMNIST_TILES "lib/backend/cpu/builtin/amx/emulated_tiles.inl"
#include "lib/backend/cpu/builtin/amx/kernels.inl"

namespace distmnist::cpu {

const AmxKernels& emulated_amx_kernels() {
  return emulated::kAmxKernels;
}

}  // namespace distmnist::cpu
