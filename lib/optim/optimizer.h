// Optimizers as pure functions over a piece of the parameter block and its slots. Formulas and defaults of
// TensorFlow 1.x.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace distmnist {

enum class OptimizerKind : std::uint8_t { kSgd = 0, kMomentum = 1, kAdam = 2 };

struct OptimizerSpec {
  OptimizerKind kind = OptimizerKind::kAdam;
  float learning_rate = 1e-4f;
  float momentum = 0.9f;  // momentum only
  float beta1 = 0.9f;     // adam only, like the next two
  float beta2 = 0.999f;
  float epsilon = 1e-8f;

  bool operator==(const OptimizerSpec&) const = default;
};

// "sgd", "momentum", "adam"; Error (kUsage) names the known ones.
OptimizerKind parse_optimizer(std::string_view name);
std::string_view to_string(OptimizerKind kind);

// The names of the slots, each as long as the parameters: {} for sgd, {"momentum"}, {"m", "v"} for adam.
std::vector<std::string> slot_names(OptimizerKind kind);

// Applies update number `t` (1 for the first) to `parameters` and `slots` in one pass, and writes the new parameters to
// `updated` as well. `updated` is as long as `parameters`, and may be the gradient's own memory (a reply is written
// over the gradient it answers) or the parameters', but not overlap them otherwise. slots.size() ==
// slot_names(kind).size(). Every float is on its own: pieces of a block, in any sizes and on any processor, get the
// same bits as the whole block.
//   sgd:      p -= lr g
//   momentum: a = momentum a + g; p -= lr a
//   adam:     m += (1 - beta1)(g - m); v += (1 - beta2)(g g - v);
//             p -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)
//             (Kingma and Ba, arXiv 1412.6980, the form before section 2.1; epsilon is its "epsilon hat", as in
//             TensorFlow)
void apply_update(const OptimizerSpec& spec, std::int64_t t, std::span<float> parameters,
                  std::span<const std::span<float>> slots, std::span<const float> gradient, std::span<float> updated);

// The same, bit for bit, in instructions that every processor has. For tests.
void apply_update_portable(const OptimizerSpec& spec, std::int64_t t, std::span<float> parameters,
                           std::span<const std::span<float>> slots, std::span<const float> gradient,
                           std::span<float> updated);

}  // namespace distmnist
