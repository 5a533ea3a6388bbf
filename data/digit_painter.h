// Paints one synthetic digit.
#pragma once

#include <cstdint>
#include <span>

#include "lib/base/random.h"

namespace distmnist {

inline constexpr int kDigitSide = 28;  // pixels

// Paints `digit` (0 .. 9) in a style that `random` decides into pixels [28, 28], 0 black .. 255 white ink. Only the
// four operations and square roots of IEEE 754 are used, so that every machine paints the same.
void paint_digit(int digit, Random random, std::span<std::uint8_t> pixels);

}  // namespace distmnist
