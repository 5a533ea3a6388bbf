// All kernels for one instruction set, in a namespace of their own. Who includes this has included <cstdint>,
// <cstddef>, <type_traits>, vector_kernels.h and, for more than the portable instructions, <immintrin.h> before it has
// told the compiler which instructions there are: inline functions of those headers must stay what every processor can
// run. It defines
//   DISTMNIST_KERNELS    the namespace
//   DISTMNIST_LANES      floats of a vector
//   DISTMNIST_REGISTERS  vector registers

namespace distmnist::cpu::DISTMNIST_KERNELS {
namespace {

constexpr int kLanes = DISTMNIST_LANES;
constexpr int kRegisters = DISTMNIST_REGISTERS;

// Each uses those before it.
// clang-format off
#include "lib/backend/cpu/vector/vec.inl"
#include "lib/backend/cpu/vector/matmul.inl"
#include "lib/backend/cpu/vector/pooling.inl"
#include "lib/backend/cpu/vector/direct.inl"
#include "lib/backend/cpu/vector/winograd.inl"
// clang-format on

}  // namespace

extern const VectorKernels kVectorKernels;
const VectorKernels kVectorKernels = {product,
                                      pack,
                                      row_products,
                                      direct_forward,
                                      direct_backward,
                                      winograd_weights,
                                      winograd_forward,
                                      winograd_backward,
                                      winograd_weight_gradient};

}  // namespace distmnist::cpu::DISTMNIST_KERNELS
