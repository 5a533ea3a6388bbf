#include "data/digit_shapes.h"

#include <algorithm>
#include <array>
#include <cassert>

namespace distmnist {
namespace {

// The outlines were drawn by eye in a unit square.
const std::array<std::vector<Shape>, 10>& all_shapes() {
  static const std::array<std::vector<Shape>, 10> shapes = {{
      // 0: round; narrow
      {{{{.5f, 0}, {.2f, .13f}, {.08f, .5f}, {.2f, .87f}, {.5f, 1}, {.8f, .87f}, {.92f, .5f}, {.8f, .13f}, {.5f, 0}}},
       {{{.55f, 0},
         {.3f, .2f},
         {.22f, .55f},
         {.3f, .9f},
         {.5f, 1},
         {.72f, .82f},
         {.78f, .45f},
         {.7f, .1f},
         {.55f, 0}}}},
      // 1: a line; with a flag; with a flag and a foot
      {{{{.5f, 0}, {.5f, .5f}, {.5f, 1}}},
       {{{.32f, .2f}, {.52f, 0}}, {{.52f, 0}, {.51f, .5f}, {.5f, 1}}},
       {{{.3f, .22f}, {.5f, 0}}, {{.5f, 0}, {.5f, .5f}, {.5f, 1}}, {{.25f, 1}, {.75f, 1}}}},
      // 2: with a corner; with a loop
      {{{{.15f, .25f}, {.3f, .04f}, {.6f, 0}, {.82f, .18f}, {.75f, .45f}, {.45f, .75f}, {.12f, 1}},
        {{.12f, 1}, {.5f, .98f}, {.9f, 1}}},
       {{{.18f, .2f},
         {.4f, .01f},
         {.7f, .06f},
         {.8f, .28f},
         {.62f, .58f},
         {.3f, .9f},
         {.14f, .95f},
         {.15f, .8f},
         {.35f, .8f},
         {.6f, .95f},
         {.9f, .96f}}}},
      // 3: round; with a flat top
      {{{{.18f, .12f}, {.45f, 0}, {.75f, .1f}, {.76f, .32f}, {.45f, .47f}},
        {{.45f, .47f}, {.78f, .57f}, {.85f, .78f}, {.6f, .98f}, {.3f, .98f}, {.12f, .85f}}},
       {{{.18f, .03f}, {.8f, .02f}},
        {{.8f, .02f}, {.48f, .4f}},
        {{.48f, .4f}, {.75f, .48f}, {.84f, .7f}, {.66f, .94f}, {.38f, 1}, {.14f, .88f}}}},
      // 4: open; closed
      {{{{.25f, .02f}, {.18f, .3f}, {.14f, .55f}},
        {{.14f, .55f}, {.5f, .55f}, {.9f, .5f}},
        {{.72f, .05f}, {.7f, .5f}, {.66f, 1}}},
       {{{.66f, 0}, {.36f, .34f}, {.08f, .66f}},
        {{.08f, .66f}, {.5f, .66f}, {.92f, .64f}},
        {{.66f, 0}, {.66f, .5f}, {.66f, 1}}}},
      // 5: with a corner; in one stroke
      {{{{.85f, .02f}, {.5f, .02f}, {.26f, .03f}},
        {{.26f, .03f}, {.23f, .22f}, {.2f, .43f}},
        {{.2f, .43f}, {.5f, .36f}, {.8f, .5f}, {.84f, .75f}, {.62f, .96f}, {.34f, 1}, {.12f, .9f}}},
       {{{.85f, .05f},
         {.55f, .03f},
         {.32f, .12f},
         {.25f, .32f},
         {.42f, .44f},
         {.7f, .54f},
         {.78f, .76f},
         {.58f, .97f},
         {.3f, .99f},
         {.12f, .9f}}}},
      // 6: curved; straight
      {{{{.72f, .03f},
         {.42f, .18f},
         {.2f, .48f},
         {.16f, .78f},
         {.38f, 1},
         {.68f, .96f},
         {.82f, .74f},
         {.68f, .54f},
         {.4f, .55f},
         {.2f, .76f}}},
       {{{.55f, 0},
         {.38f, .32f},
         {.25f, .68f},
         {.34f, .95f},
         {.58f, .98f},
         {.76f, .78f},
         {.66f, .58f},
         {.45f, .6f},
         {.28f, .82f}}}},
      // 7: plain; with a bar; with a curved foot
      {{{{.12f, .05f}, {.5f, .04f}, {.86f, .03f}}, {{.86f, .03f}, {.62f, .5f}, {.42f, 1}}},
       {{{.12f, .05f}, {.5f, .05f}, {.86f, .03f}}, {{.86f, .03f}, {.62f, .5f}, {.42f, 1}}, {{.3f, .52f}, {.82f, .48f}}},
       {{{.14f, .2f}, {.18f, .06f}},
        {{.18f, .06f}, {.5f, .08f}, {.84f, .05f}},
        {{.84f, .05f}, {.7f, .35f}, {.54f, .65f}, {.5f, 1}}}},
      // 8: two loops; in one stroke
      {{{{.5f, 0}, {.25f, .1f}, {.24f, .33f}, {.5f, .47f}, {.76f, .33f}, {.75f, .1f}, {.5f, 0}},
        {{.5f, .47f}, {.2f, .6f}, {.16f, .86f}, {.5f, 1}, {.84f, .86f}, {.8f, .6f}, {.5f, .47f}}},
       {{{.78f, .12f},
         {.5f, 0},
         {.24f, .14f},
         {.32f, .36f},
         {.66f, .58f},
         {.78f, .82f},
         {.5f, 1},
         {.22f, .84f},
         {.36f, .58f},
         {.68f, .36f},
         {.78f, .12f}}}},
      // 9: straight; curved
      {{{{.8f, .12f}, {.5f, 0}, {.22f, .16f}, {.24f, .42f}, {.5f, .5f}, {.76f, .34f}, {.8f, .12f}},
        {{.8f, .12f}, {.77f, .55f}, {.72f, 1}}},
       {{{.8f, .14f}, {.54f, 0}, {.24f, .14f}, {.22f, .4f}, {.48f, .5f}, {.74f, .36f}, {.8f, .14f}},
        {{.8f, .14f}, {.84f, .5f}, {.72f, .86f}, {.45f, 1}, {.22f, .94f}}}},
  }};
  return shapes;
}

}  // namespace

std::span<const Shape> digit_shapes(int digit) {
  assert(digit >= 0 && digit <= 9);
  return all_shapes()[static_cast<std::size_t>(digit)];
}

Stroke smooth(const Stroke& stroke) {
  constexpr int kPieces = 6;  // between two points of a stroke
  const auto n = static_cast<std::ptrdiff_t>(stroke.size());
  assert(n >= 2);
  const bool loop = stroke.front().x == stroke.back().x && stroke.front().y == stroke.back().y;
  // Past the ends, a loop wraps around and an open stroke repeats its end point.
  const auto at = [&](std::ptrdiff_t i) {
    if (loop) i = i < 0 ? n - 2 : i >= n ? 1 : i;
    return stroke[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(i, 0, n - 1))];
  };
  const auto spline = [](float a, float b, float c, float d, float t) {
    return b + 0.5f * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
  };
  Stroke pieces = {stroke.front()};
  for (std::ptrdiff_t i = 0; i + 1 < n; ++i) {
    const Point a = at(i - 1), b = at(i), c = at(i + 1), d = at(i + 2);
    for (int k = 1; k <= kPieces; ++k) {
      const float t = static_cast<float>(k) / kPieces;
      pieces.push_back({spline(a.x, b.x, c.x, d.x, t), spline(a.y, b.y, c.y, d.y, t)});
    }
  }
  return pieces;
}

}  // namespace distmnist
