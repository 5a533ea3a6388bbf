#include "lib/backend/cpu/builtin/vector/vector_kernels.h"

namespace distmnist::cpu {

namespace portable {
extern const VectorKernels kVectorKernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const VectorKernels kVectorKernels;
}
namespace avx512 {
extern const VectorKernels kVectorKernels;
}
#endif

const VectorKernels& vector_kernels(InstructionSet set) {
#if defined(__x86_64__)
  switch (set) {
    case InstructionSet::kPortable:
      break;
    case InstructionSet::kAvx2:
      return avx2::kVectorKernels;
    case InstructionSet::kAvx512:
    case InstructionSet::kAmx:
      return avx512::kVectorKernels;
  }
#endif
  (void)set;
  return portable::kVectorKernels;
}

}  // namespace distmnist::cpu
