// All kernels for one instruction set, in their own namespace. The including file must include <cstdint>, <cstddef>,
// <type_traits>, vector_kernels.h and, unless it uses only portable instructions, <immintrin.h> before it enables
// instructions in the compiler, because inline functions from those headers must run on every processor. It must define
//   DISTMNIST_KERNELS    the namespace
//   DISTMNIST_LANES      floats per vector
//   DISTMNIST_REGISTERS  number of vector registers

namespace distmnist::cpu::DISTMNIST_KERNELS {
namespace {

constexpr int kLanes = DISTMNIST_LANES;
constexpr int kRegisters = DISTMNIST_REGISTERS;

// Each file uses the ones before it.
// clang-format off
#include "lib/backend/cpu/builtin/vector/vec.inl"
#include "lib/backend/cpu/builtin/vector/transpose.inl"
#include "lib/backend/cpu/builtin/vector/matmul.inl"
#include "lib/backend/cpu/builtin/vector/pooling.inl"
#include "lib/backend/cpu/builtin/vector/direct.inl"
#include "lib/backend/cpu/builtin/vector/winograd.inl"
// clang-format on

}  // namespace

extern const VectorKernels kVectorKernels;
const VectorKernels kVectorKernels = {transpose,
                                      product,
                                      pack,
                                      row_products,
                                      direct_forward,
                                      direct_backward,
                                      winograd_weights,
                                      winograd_forward,
                                      winograd_backward,
                                      winograd_weight_gradient};

}  // namespace distmnist::cpu::DISTMNIST_KERNELS
