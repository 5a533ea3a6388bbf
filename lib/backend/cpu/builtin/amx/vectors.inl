// The kernels' arithmetic outside of tiles: vectors of 16 floats (vector/vec.inl) and of 32 bfloat16.

using HalfVec = Bf16 __attribute__((vector_size(kTileBytes)));           // 32 bfloat16
using PairVec = std::uint32_t __attribute__((vector_size(kTileBytes)));  // 16 pairs of them; the first one is low

inline void store(Bf16* to, HalfVec v) {
  __builtin_memcpy(to, &v, sizeof v);
}
inline void store(Bf16* to, PairVec v) {
  __builtin_memcpy(to, &v, sizeof v);
}
inline HalfVec load_halves(const Bf16* from) {
  HalfVec v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
inline PairVec load_pairs(const Bf16* from) {
  PairVec v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

inline Shorts first_half(HalfVec v) {
  return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
inline Shorts second_half(HalfVec v) {
  return __builtin_shufflevector(v, v, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
}
inline void store(Bf16* to, Shorts v) {
  __builtin_memcpy(to, &v, sizeof v);
}

inline Vec as_floats(Shorts halves) {
  return reinterpret_cast<Vec>(__builtin_convertvector(halves, PairVec) << 16);
}

// Two vectors of floats as one of bfloat16, rounded: the number itself (plane 0), or the rounding error, itself rounded
// (plane 1).
template <int kPlane>
inline HalfVec halves_of(Vec first, Vec second) {
  const HalfVec halves = rounded(first, second);
  if constexpr (kPlane == 0) return halves;
  return rounded(first - as_floats(first_half(halves)), second - as_floats(second_half(halves)));
}

// Words from `first` and `second` in turn: the first half of the result, and the second one.
inline HalfVec interleaved_low(HalfVec first, HalfVec second) {
  return __builtin_shufflevector(first, second, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8, 40, 9, 41,
                                 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47);
}
inline HalfVec interleaved_high(HalfVec first, HalfVec second) {
  return __builtin_shufflevector(first, second, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55, 24, 56,
                                 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63);
}
// The halves of one vector in turn: 16 pairs of `first[i]` and `second[i]`.
inline HalfVec paired(HalfVec first_and_second) {
  return __builtin_shufflevector(first_and_second, first_and_second, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
                                 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// 16 pairs of the second half of `before` and the first half of `after`.
inline HalfVec paired_across(HalfVec before, HalfVec after) {
  return __builtin_shufflevector(before, after, 16, 32, 17, 33, 18, 34, 19, 35, 20, 36, 21, 37, 22, 38, 23, 39, 24, 40,
                                 25, 41, 26, 42, 27, 43, 28, 44, 29, 45, 30, 46, 31, 47);
}
