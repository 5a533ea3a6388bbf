// Random: random numbers as pure functions of (seed, stream, position). They are the same on every machine, and any
// position can be reached directly. Mixing is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
// generators", OOPSLA 2014).
#pragma once

#include <cstdint>

namespace distmnist {

// One round of SplitMix64's finalizer: a bijection of 64-bit numbers that scatters neighboring values.
constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

// A stream of random numbers, identified by a seed and a stream number (a variable, a worker, an epoch).
class Random {
 public:
  constexpr Random(std::uint64_t seed, std::uint64_t stream) : key_(mix64(mix64(seed) ^ stream)) {}

  // The number at `position` in the stream; does not advance the stream.
  constexpr std::uint64_t at(std::uint64_t position) const { return mix64(key_ + position * 0xD1342543DE82EF95ULL); }

  constexpr std::uint64_t next() { return at(position_++); }

  // Uniform in [0, 1) with 24 bits, exactly representable as float.
  constexpr float uniform() { return to_unit(next()); }
  static constexpr float to_unit(std::uint64_t bits) { return static_cast<float>(bits >> 40) * 0x1p-24f; }

  // Uniform in [0, bound), bound > 0, by multiplication (Lemire 2019); the bias is below bound / 2^64.
  constexpr std::uint64_t below(std::uint64_t bound) {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }

 private:
  std::uint64_t key_;
  std::uint64_t position_ = 0;
};

}  // namespace distmnist
