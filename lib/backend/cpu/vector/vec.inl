// A vector of kLanes floats, by the compiler's own vectors: portable, and what they compile to is what the target has.
// kLanes is defined by who includes this.

using Vec = float __attribute__((vector_size(kLanes * sizeof(float))));
using Ints = std::int32_t __attribute__((vector_size(kLanes * sizeof(std::int32_t))));
using Bytes = std::uint8_t __attribute__((vector_size(kLanes)));

inline Vec load(const float* from) {
  Vec v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
inline void store(float* to, Vec v) { __builtin_memcpy(to, &v, sizeof v); }
inline Vec splat(float x) { return x - Vec{}; }
inline Ints load_bytes(const std::uint8_t* from) {
  Bytes bytes;
  __builtin_memcpy(&bytes, from, sizeof bytes);
  return __builtin_convertvector(bytes, Ints);
}
inline void store_bytes(std::uint8_t* to, Ints v) {
  const Bytes bytes = __builtin_convertvector(v, Bytes);
  __builtin_memcpy(to, &bytes, sizeof bytes);
}
// `v` where the mask is set, else 0.
inline Vec where(Ints mask, Vec v) { return reinterpret_cast<Vec>(reinterpret_cast<Ints>(v) & mask); }

// Halves are added to halves, down to one number.
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
