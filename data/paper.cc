#include "data/paper.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace distmnist {
namespace {

constexpr int kRounds = 12;             // of reweighting; more make no visible difference
constexpr double kLeastDistance = 0.5;  // in channel units; smaller distances do not get more weight
constexpr double kFlatness = 1e-4;      // keeps terms at 0 that too few or equal positions cannot determine

// [matrix | right-hand sides] of a positive definite linear system, solved in place.
template <std::size_t N>
using System = std::array<std::array<double, N + 3>, N>;

template <std::size_t N>
void eliminate(System<N>& system) {
  for (std::size_t pivot = 0; pivot < N; ++pivot) {
    for (std::size_t row = 0; row < N; ++row) {
      if (row == pivot) continue;
      const double factor = system[row][pivot] / system[pivot][pivot];
      for (std::size_t c = pivot; c < N + 3; ++c) system[row][c] -= factor * system[pivot][c];
    }
  }
}

}  // namespace

Paper::Paper(Colour colour) {
  factors_[0] = colour;
}

Paper::Terms Paper::terms_at(std::int64_t y, std::int64_t x) const {
  const double v = (2 * static_cast<double>(y) + 1) / height_ - 1, u = (2 * static_cast<double>(x) + 1) / width_ - 1;
  return {1, u, v, u * u, u * v, v * v};
}

Colour Paper::at(std::int64_t y, std::int64_t x) const {
  const Terms terms = terms_at(y, x);
  Colour colour;
  for (std::size_t i = 0; i < kTerms; ++i) colour = colour + static_cast<float>(terms[i]) * factors_[i];
  return colour;
}

Paper fit_paper(const OpaquePicture& picture, const std::vector<std::int64_t>& places) {
  std::vector<Colour> colours;
  for (const std::int64_t place : places) colours.push_back(picture.pixels[static_cast<std::size_t>(place)]);
  Paper paper(median_colour(colours));
  paper.height_ = static_cast<double>(picture.height);
  paper.width_ = static_cast<double>(picture.width);
  for (int round = 0; round < kRounds; ++round) {
    System<Paper::kTerms> system{};
    double weights = 0;
    for (std::size_t i = 0; i < places.size(); ++i) {
      const std::int64_t y = places[i] / picture.width, x = places[i] % picture.width;
      const Paper::Terms terms = paper.terms_at(y, x);
      const Colour colour = colours[i];
      const double weight = 1 / std::max<double>(kLeastDistance, length(colour - paper.at(y, x)));
      weights += weight;
      for (std::size_t row = 0; row < Paper::kTerms; ++row) {
        for (std::size_t c = 0; c < Paper::kTerms; ++c) system[row][c] += weight * terms[row] * terms[c];
        system[row][Paper::kTerms] += weight * terms[row] * colour.red;
        system[row][Paper::kTerms + 1] += weight * terms[row] * colour.green;
        system[row][Paper::kTerms + 2] += weight * terms[row] * colour.blue;
      }
    }
    for (std::size_t row = 0; row < Paper::kTerms; ++row) system[row][row] += (row == 0 ? 1e-12 : kFlatness) * weights;
    eliminate<Paper::kTerms>(system);
    for (std::size_t row = 0; row < Paper::kTerms; ++row) {
      const auto& solved = system[row];
      paper.factors_[row] = {static_cast<float>(solved[Paper::kTerms] / solved[row]),
                             static_cast<float>(solved[Paper::kTerms + 1] / solved[row]),
                             static_cast<float>(solved[Paper::kTerms + 2] / solved[row])};
    }
  }
  return paper;
}

}  // namespace distmnist
