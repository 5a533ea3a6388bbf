// All kernels, in the namespace DISTMNIST_AMX_KERNELS, with the class Tiles from the file DISTMNIST_TILES. The
// including file must include <cstddef>, <cstdint>, <type_traits>, amx_kernels.h and, unless it uses only portable
// instructions, <immintrin.h> before it enables instructions in the compiler, as
// for vector/kernels.inl.

namespace distmnist::cpu::DISTMNIST_AMX_KERNELS {
namespace {

constexpr int kLanes = 16;
#define DISTMNIST_LANES 16

// Each file needs the ones before it.
// clang-format off
#include "lib/backend/cpu/builtin/vector/vec.inl"
#include "lib/backend/cpu/builtin/vector/pooling.inl"
#include DISTMNIST_TILES
#include "lib/backend/cpu/builtin/amx/vectors.inl"
#include "lib/backend/cpu/builtin/amx/packing.inl"
#include "lib/backend/cpu/builtin/amx/product.inl"
#include "lib/backend/cpu/builtin/amx/pooling.inl"
#include "lib/backend/cpu/builtin/amx/convolution.inl"
#include "lib/backend/cpu/builtin/amx/direct.inl"
// clang-format on

constexpr AmxKernels kAmxKernels = {
    pack, pack_piece, repack, tile_product, convolution_forward, convolution_backward, direct_forward, direct_backward};

}  // namespace
}  // namespace distmnist::cpu::DISTMNIST_AMX_KERNELS
