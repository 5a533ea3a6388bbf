// All kernels, in the namespace DISTMNIST_AMX_KERNELS, on the Tiles of the file DISTMNIST_TILES. Who includes this has
// included <cstddef>, <cstdint> and amx_kernels.h before it has told the compiler which instructions there are, as for
// vector/kernels.inl.

namespace distmnist::cpu::DISTMNIST_AMX_KERNELS {
namespace {

#include DISTMNIST_TILES

// Each needs the ones before it.
// clang-format off
#include "lib/backend/cpu/amx/packing.inl"
#include "lib/backend/cpu/amx/product.inl"
#include "lib/backend/cpu/amx/pooling.inl"
#include "lib/backend/cpu/amx/convolution.inl"
#include "lib/backend/cpu/amx/direct.inl"
// clang-format on

constexpr AmxKernels kAmxKernels = {
    pack, repack, tile_product, convolution_forward, convolution_backward, direct_forward, direct_backward};

}  // namespace
}  // namespace distmnist::cpu::DISTMNIST_AMX_KERNELS
