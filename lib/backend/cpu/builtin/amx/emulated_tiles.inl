// Emulates the instructions with plain loops, bitwise exactly.

class Tiles {
 public:
  explicit Tiles(std::int64_t rows = kTileRows) {
    for (std::int64_t& each : rows_) each = rows;
    rows_[kWholeTile] = kTileRows;
  }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  template <int kTile>
  void zero() {
    __builtin_memset(tiles_[kTile], 0, sizeof tiles_[kTile]);
  }
  template <int kTile>
  void load(const void* from, std::ptrdiff_t row_bytes) {
    zero<kTile>();
    for (int row = 0; row < rows_[kTile]; ++row) {
      __builtin_memcpy(tiles_[kTile] + row * kTileBytes, static_cast<const char*>(from) + row * row_bytes, kTileBytes);
    }
  }
  template <int kTile>
  void store(void* to, std::ptrdiff_t row_bytes) {
    for (int row = 0; row < rows_[kTile]; ++row) {
      __builtin_memcpy(static_cast<char*>(to) + row * row_bytes, tiles_[kTile] + row * kTileBytes, kTileBytes);
    }
  }
  // Even and odd depths are summed separately, in order, with fused multiply-adds. Then the two sums are added, and
  // then the previous value. Rounded to nearest, denormals flushed to zero.
  template <int kTo, int kLeft, int kRight>
  void multiply() {
    float left[kTileRows][kTileDepth], right[kTileRows][2][kColumns], result[kTileRows][kColumns];
    for (int row = 0; row < kTileRows; ++row) {
      for (int i = 0; i < kTileDepth; ++i) {
        left[row][i] = number(kLeft, row, i);
        right[row][i % 2][i / 2] = number(kRight, row, i);
      }
    }
    __builtin_memcpy(result, tiles_[kTo], sizeof result);
    for (int row = 0; row < rows_[kTo]; ++row) {
      float sums[2][kColumns] = {};
      for (int pair = 0; pair < kTileRows; ++pair) {
        for (int half = 0; half < 2; ++half) {
          for (int column = 0; column < kColumns; ++column) {
            float& sum = sums[half][column];
            sum = fused(left[row][2 * pair + half], right[pair][half][column], sum);
          }
        }
      }
      for (int column = 0; column < kColumns; ++column) {
        result[row][column] = flushed(flushed(result[row][column]) + flushed(sums[0][column] + sums[1][column]));
      }
    }
    __builtin_memcpy(tiles_[kTo], result, sizeof result);
  }

 private:
  static constexpr int kColumns = 16;  // floats per row

  static float flushed(float x) { return __builtin_fabsf(x) < __FLT_MIN__ ? __builtin_copysignf(0.0f, x) : x; }
  // The product is exact in double, and rounding its sum with a float twice gives the same result as rounding once: 53
  // > 2 * 24 + 1 bits (Figueroa, When is double rounding innocuous, 1995).
  static float fused(float a, float b, float sum) {
    return flushed(static_cast<float>(static_cast<double>(a) * static_cast<double>(b) + static_cast<double>(sum)));
  }
  float number(int tile, int row, int i) const {
    Bf16 half;
    __builtin_memcpy(&half, tiles_[tile] + row * kTileBytes + i * 2, sizeof half);
    return flushed(__builtin_bit_cast(float, static_cast<std::uint32_t>(half) << 16));
  }

  char tiles_[8][kTileRows * kTileBytes] = {};
  std::int64_t rows_[8];
};

inline Bf16 __attribute__((vector_size(kTileBytes))) rounded(Vec first, Vec second) {
  Bf16 __attribute__((vector_size(kTileBytes))) halves;
  for (int i = 0; i < kTileDepth; ++i) {
    const float x = i < kLanes ? first[i] : second[i - kLanes];
    const auto bits = __builtin_bit_cast(std::uint32_t, x);
    const std::uint32_t nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    const bool denormal = (bits & 0x7F800000) == 0;
    // NaN stays NaN: rounding up could turn it into an infinity or zero.
    halves[i] = static_cast<Bf16>(denormal ? bits >> 16 & 0x8000 : x == x ? nearest : (bits >> 16) | 0x40);
  }
  return halves;
}
