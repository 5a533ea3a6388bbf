// Digit side: height and width of an image of MNIST.
#pragma once

namespace distmnist {

inline constexpr int kDigitSide = 28;  // pixels

}  // namespace distmnist
