// Shared by both convolutions: ReLU and max-pool of a 2x2 window, and the backward pass.

// Stores the largest of four numbers plus its bias, and its index; the first one on a tie.
inline void pool(const Vec (&window)[4], Vec bias, float* values, std::uint8_t* choices) {
  Vec best = window[0];
  Ints chosen = {};
#pragma GCC unroll 4
  for (int i = 1; i < 4; ++i) {
    const Ints larger = window[i] > best;
    best = larger ? window[i] : best;
    chosen = larger ? Ints{} + i : chosen;
  }
  best += bias;
  const Ints stopped = best <= Vec{};  // false for NaN
  store(values, where(~stopped, best));
  store_bytes(choices, stopped ? Ints{} + kNoneChosen : chosen);
}

// The gradients of the four numbers; returns that of the bias.
inline Vec unpool(const float* values, const std::uint8_t* choices, Vec (&window)[4]) {
  const Vec gradient = load(values);
  const Ints chosen = load_bytes(choices);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) window[i] = where(chosen == i, gradient);
  return where(chosen != kNoneChosen, gradient);
}
