// The instructions, as inline assembly. gcc's intrinsics before gcc 13 do not declare that they read memory, so
// preceding writes may be moved after them.

class Tiles {
 public:
  // is_supported() has requested permission to use tiles.
  explicit Tiles(std::int64_t rows = kTileRows) {
    struct alignas(64) {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {kTileBytes, kTileBytes, kTileBytes, kTileBytes,
                                     kTileBytes, kTileBytes, kTileBytes, kTileBytes};
      std::uint8_t rows[16] = {};
    } configuration;
    for (int tile = 0; tile < kWholeTile; ++tile) configuration.rows[tile] = static_cast<std::uint8_t>(rows);
    configuration.rows[kWholeTile] = kTileRows;
    static_assert(sizeof configuration == 64);
    asm volatile("ldtilecfg %0" ::"m"(configuration));
  }
  // Otherwise the operating system would save and restore eight kilobytes at each context switch.
  ~Tiles() { asm volatile("tilerelease"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  template <int kTile>
  void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }
  template <int kTile>
  void load(const void* from, std::ptrdiff_t row_bytes) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(row_bytes), "i"(kTile) : "memory");
  }
  template <int kTile>
  void store(void* to, std::ptrdiff_t row_bytes) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(row_bytes), "i"(kTile) : "memory");
  }
  template <int kTo, int kLeft, int kRight>
  void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kTo), "i"(kLeft), "i"(kRight));
  }
};

// AVX512_BF16, which every processor with AMX has.
inline Bf16 __attribute__((vector_size(kTileBytes))) rounded(Vec first, Vec second) {
  Bf16 __attribute__((vector_size(kTileBytes))) halves;
  asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(halves) : "v"(first), "v"(second));
  return halves;
}
