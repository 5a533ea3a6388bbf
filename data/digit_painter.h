// Digit painter: draws one synthetic digit.
#pragma once

#include <cstdint>
#include <span>

#include "data/digit_side.h"
#include "lib/base/random.h"

namespace distmnist {

// Draws `digit` (0 .. 9) in a style chosen by `random` into pixels [28, 28], 0 black .. 255 white ink. Uses only the
// four basic operations and square roots of IEEE 754, so the result is the same on every machine.
void paint_digit(int digit, Random random, std::span<std::uint8_t> pixels);

}  // namespace distmnist
