// The shapes of handwritten digits, as strokes of a pen.
#pragma once

#include <span>
#include <vector>

namespace distmnist {

struct Point {
  float x = 0;  // to the right
  float y = 0;  // downwards
};

// The points that a pen passes, joined smoothly; a corner is where one stroke ends and another starts. A stroke whose
// first and last point are the same is a loop.
using Stroke = std::vector<Point>;
using Shape = std::vector<Stroke>;  // inside 0 .. 1 in both directions

// The usual ways to write `digit` (0 .. 9), at least one.
std::span<const Shape> digit_shapes(int digit);

// The stroke as straight pieces: a Catmull-Rom spline (Catmull, Rom, "A class of local interpolating splines", 1974).
Stroke smooth(const Stroke& stroke);

}  // namespace distmnist
