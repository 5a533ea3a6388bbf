// SIMD: what makes a plain loop fast: one version for each kind of processor, a promise about aliasing, and no
// denormals.
#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

// Compiles a function several times (AVX-512, AVX2, baseline); the loader selects the version for the processor.
// Helpers that it calls must be DISTMNIST_INLINE_INTO_VERSIONS, or they stay baseline. Not used with the thread
// sanitizer, which cannot run the loader's selection.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && \
    !defined(__SANITIZE_THREAD__)
#define DISTMNIST_VERSIONS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define DISTMNIST_VERSIONS
#endif
#define DISTMNIST_INLINE_INTO_VERSIONS inline __attribute__((always_inline))

// Before a loop: no iteration accesses what a different one writes. Arrays may be the same memory, index for index,
// which `restrict` would not allow.
#if defined(__clang__)
#define DISTMNIST_INDEPENDENT_ITERATIONS _Pragma("clang loop vectorize(assume_safety)")
#else
#define DISTMNIST_INDEPENDENT_ITERATIONS _Pragma("GCC ivdep")
#endif

namespace distmnist {

// While this object lives, numbers below 1.2e-38 count as zero in this thread. Moments of weights that get no gradient
// decay to such numbers and stay there, and arithmetic on them is a hundred times slower on many processors. Affects
// x86 only.
class ScopedFlushDenormals {
 public:
#if defined(__SSE2__)
  ScopedFlushDenormals() : saved_(_mm_getcsr()) {
    _mm_setcsr(saved_ | kFlushToZero | kDenormalsAreZero);
  }
  ~ScopedFlushDenormals() {
    _mm_setcsr(saved_);
  }
#else
  ScopedFlushDenormals() {}
  ~ScopedFlushDenormals() {}
#endif
  ScopedFlushDenormals(const ScopedFlushDenormals&) = delete;
  ScopedFlushDenormals& operator=(const ScopedFlushDenormals&) = delete;

#if defined(__SSE2__)
 private:
  static constexpr unsigned kFlushToZero = 0x8000;
  static constexpr unsigned kDenormalsAreZero = 0x0040;
  unsigned saved_;
#endif
};

}  // namespace distmnist
