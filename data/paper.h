// Paper: the colour of what a digit is written on, which light may make different from place to place.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "data/picture.h"

namespace distmnist {

// A colour at each place of a picture.
class Paper {
 public:
  // The same everywhere.
  explicit Paper(Colour colour);
  Colour at(std::int64_t y, std::int64_t x) const;

 private:
  friend Paper fit_paper(const OpaquePicture& picture, const std::vector<std::int64_t>& places);
  static constexpr std::size_t kTerms = 6;  // 1, x, y, x^2, x y, y^2
  using Terms = std::array<double, kTerms>;
  Terms terms_at(std::int64_t y, std::int64_t x) const;

  std::array<Colour, kTerms> factors_{};
  double height_ = 1, width_ = 1;
};

// The paper, of colours that change as a polynomial of degree 2, that is as near as can be to these pixels (y * width +
// x, at least one), in the sense of the sum of distances: a minority of pixels that are no paper moves it little.
Paper fit_paper(const OpaquePicture& picture, const std::vector<std::int64_t>& places);

}  // namespace distmnist
