// Digit shapes: handwritten digits as pen strokes.
#pragma once

#include <span>
#include <vector>

namespace distmnist {

struct Point {
  float x = 0;  // rightwards
  float y = 0;  // downwards
};

// The points that a pen passes, joined smoothly; at a corner, one stroke ends and the next begins. A stroke whose first
// and last points are equal is a loop.
using Stroke = std::vector<Point>;
using Shape = std::vector<Stroke>;  // within 0 .. 1 in both directions

// The usual ways to write `digit` (0 .. 9); at least one.
std::span<const Shape> digit_shapes(int digit);

// The stroke as straight segments: a Catmull-Rom spline (Catmull, Rom, "A class of local interpolating splines", 1974).
Stroke smooth(const Stroke& stroke);

}  // namespace distmnist
