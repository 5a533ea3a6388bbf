// Paper: the colour of the background of a digit, which may vary with the lighting.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "data/picture.h"

namespace distmnist {

// A colour for each position in a picture.
class Paper {
 public:
  // The same colour everywhere.
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

// Fits paper with colours that vary as a polynomial of degree 2 to these pixels (y * width + x, at least one). It
// minimises the sum of distances, so a minority of pixels that are not paper affects it little.
Paper fit_paper(const OpaquePicture& picture, const std::vector<std::int64_t>& places);

}  // namespace distmnist
