// A vector of kLanes floats, as a compiler vector type: portable, and compiled to the instructions of the target. The
// including file defines kLanes.

using Vec = float __attribute__((vector_size(kLanes * sizeof(float))));
using Ints = std::int32_t __attribute__((vector_size(kLanes * sizeof(std::int32_t))));
using Shorts = std::uint16_t __attribute__((vector_size(kLanes * sizeof(std::uint16_t))));
using Bytes = std::uint8_t __attribute__((vector_size(kLanes)));

inline Vec load(const float* from) {
  Vec v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
inline void store(float* to, Vec v) {
  __builtin_memcpy(to, &v, sizeof v);
}
inline Vec splat(float x) {
  return x - Vec{};
}

// Convert bytes to numbers and, for numbers below 256, back. Compilers generate dozens of instructions for a conversion
// that the processor has an instruction for, and fewer if it is done in two steps.
inline Ints load_bytes(const std::uint8_t* from) {
#if DISTMNIST_LANES == 8 && defined(__AVX2__)
  return reinterpret_cast<Ints>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
#elif DISTMNIST_LANES == 16 && defined(__AVX512F__)
  return reinterpret_cast<Ints>(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#else
  Bytes bytes;
  __builtin_memcpy(&bytes, from, sizeof bytes);
  return __builtin_convertvector(__builtin_convertvector(bytes, Shorts), Ints);
#endif
}
inline void store_bytes(std::uint8_t* to, Ints v) {
#if DISTMNIST_LANES == 8 && defined(__AVX2__)
  // Gathers the bytes of each half in its first word, then puts the two words side by side.
  const __m256i first = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                         -1, -1, -1, -1, 0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i halves = _mm256_shuffle_epi8(reinterpret_cast<__m256i>(v), first);
  const __m128i bytes = _mm_or_si128(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), bytes);
#elif DISTMNIST_LANES == 16 && defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(v)));
#else
  const Bytes bytes = __builtin_convertvector(__builtin_convertvector(v, Shorts), Bytes);
  __builtin_memcpy(to, &bytes, sizeof bytes);
#endif
}

// `v` where the mask is set, else 0.
inline Vec where(Ints mask, Vec v) {
  return reinterpret_cast<Vec>(reinterpret_cast<Ints>(v) & mask);
}

// Adds one half to the other repeatedly, until one number is left.
inline float sum(Vec v) {
  float numbers[kLanes];
  store(numbers, v);
#pragma GCC unroll 8
  for (int half = kLanes / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) numbers[i] += numbers[i + half];
  }
  return numbers[0];
}

// One stage of a transposition: exchanges blocks of kSide x kSide numbers of lines that are kSide apart.
template <int kSide, typename Line>
inline void exchange(Line (&lines)[kLanes]) {
  Ints upper, lower;  // which numbers, of two lines
  for (int i = 0; i < kLanes; ++i) {
    upper[i] = (i & kSide) == 0 ? i : i - kSide + kLanes;
    lower[i] = (i & kSide) == 0 ? i + kSide : i + kLanes;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if ((i & kSide) != 0) continue;
    const Line first = lines[i], second = lines[i + kSide];
    lines[i] = __builtin_shuffle(first, second, upper);
    lines[i + kSide] = __builtin_shuffle(first, second, lower);
  }
}
// Transposes kLanes lines of 32-bit numbers. Limit: a shuffle per line and stage.
template <typename Line>
inline void transpose_lines(Line (&lines)[kLanes]) {
  exchange<1>(lines);
  exchange<2>(lines);
  if constexpr (kLanes >= 8) exchange<4>(lines);
  if constexpr (kLanes >= 16) exchange<8>(lines);
}
