// Optimizers: pure functions over a piece of the parameter block and its slots. Formulas and defaults of TensorFlow
// 1.x.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/optim/learning_rate.h"

namespace distmnist {

enum class OptimizerKind : std::uint8_t { kSgd = 0, kMomentum = 1, kAdam = 2, kAdagrad = 3, kRmsprop = 4 };

// The constants of an optimizer; those of other kinds are ignored. The values here are the defaults of adam and
// momentum; default_optimizer() returns those of each kind.
struct OptimizerSpec {
  OptimizerKind kind = OptimizerKind::kAdam;
  LearningRate learning_rate = {};
  float momentum = 0.9f;  // for momentum and rmsprop
  bool nesterov = false;  // for momentum
  float beta1 = 0.9f;     // for adam, like the next one
  float beta2 = 0.999f;
  float decay = 0.9f;     // for rmsprop
  float epsilon = 1e-8f;  // for adam and rmsprop

  bool operator==(const OptimizerSpec&) const = default;
};

// Every optimizer, in the order of their numbers.
std::span<const OptimizerKind> all_optimizers();

// The name of an optimizer, such as "adam". parse_optimizer() throws Error (kUsage), which lists the known names.
OptimizerKind parse_optimizer(std::string_view name);
std::string_view to_string(OptimizerKind kind);

// The names of all optimizers for messages, like "a, b or c".
std::string optimizer_choices();

// TensorFlow's defaults: for rmsprop decay 0.9, momentum 0, epsilon 1e-10; for the others those of OptimizerSpec.
OptimizerSpec default_optimizer(OptimizerKind kind);

// The names of the slots, each as long as the parameters: {} for sgd, {"m", "v"} for adam.
std::vector<std::string> slot_names(OptimizerKind kind);

// The initial value of every float of each slot: 0 unless the rule below says otherwise.
std::vector<float> slot_start_values(OptimizerKind kind);

// Why the constants are invalid, as a noun phrase ("an unknown optimizer"); empty if they are valid. For specs from
// outside this process.
std::optional<std::string> fault_of(const OptimizerSpec& spec);

// The factor of update number `t` (1 for the first): `rate_factor` times the learning rate at global_step t - 1, and
// for adam times sqrt(1 - beta2^t) / (1 - beta1^t).
float update_rate(const OptimizerSpec& spec, std::int64_t t, float rate_factor = 1.0f);

// The floats of one update: a piece of the block or all of it. All spans have one size.
struct UpdateSpans {
  std::span<float> parameters;
  std::span<const std::span<float>> slots;  // [slot_names(kind).size()]
  std::span<const float> gradient;
  // May be the gradient's own memory (a reply overwrites the gradient that it answers) or that of the parameters, but
  // must not overlap them otherwise.
  std::span<float> updated;
};

// Applies update number `t` (1 for the first) to the parameters and slots in one pass, and also writes the new
// parameters to `updated`. Every float is computed independently: pieces of a block, of any size and on any processor,
// get the same bits as the whole block.
// lr is `rate_factor` times the learning rate at global_step t - 1, the number of updates before this one.
//   sgd:      p -= lr g
//   momentum: a = momentum a + g; p -= lr a
//             with nesterov: p -= lr g + lr momentum a
//   adam:     m += (1 - beta1)(g - m); v += (1 - beta2)(g g - v);
//             p -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)
//             (Kingma and Ba, arXiv 1412.6980, the form before section 2.1; epsilon is its "epsilon hat", as in
//             TensorFlow)
//   adagrad:  a += g g; p -= lr g / sqrt(a)
//             (Duchi, Hazan and Singer, JMLR 12, 2011; a starts at 0.1 in place of an epsilon)
//   rmsprop:  ms += (1 - decay)(g g - ms); mom = momentum mom + lr g / sqrt(ms + epsilon); p -= mom
//             (Tieleman and Hinton, 2012; ms starts at 1)
void apply_update(const OptimizerSpec& spec, std::int64_t t, const UpdateSpans& spans, float rate_factor = 1.0f);

// The same, bit for bit, with instructions that every processor has. For tests.
void apply_update_portable(const OptimizerSpec& spec, std::int64_t t, const UpdateSpans& spans,
                           float rate_factor = 1.0f);

}  // namespace distmnist
