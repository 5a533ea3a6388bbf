// How far results may be from exact ones, by what they are computed with: bounds for every machine, not what one of
// them gave. Errors are relative_error(), |error| / |exact| in the L2 norm, of all numbers of a tensor together.
//
// A step is a chain of matrix products (a convolution is one, too): forward through every layer that has weights, and
// back again. Each product adds its own error to the relative error of what it takes. What stands between them (biases,
// relu, pools, the softmax) adds next to nothing, but for relus and pools that choose another way: choices are forced
// on the oracle before gradients are compared (support/oracle.h).
//
// The error of one product is, of a term of its sums,
// - in doubles (the reference backend) that of rounding the results to float: 2^-24;
// - in float32 that of the sums. An addition rounds by 2^-24, so n in a row by sqrt(n) 2^-24 in the quadratic
// mean: 1.2e-5
//   for the longest sums of these tests (a gradient of weights over 50 images of 28 x 28 pixels), were it one chain. It
//   is 16 or more, of which each is shorter; Winograd's transforms, on the other hand, add and take away several
//   numbers for one, in shorter sums. 1e-5 is above either;
// - where AMX takes two bfloat16 for a float32 (lib/backend/cpu/builtin/amx/amx_kernels.h) that of the factors, each of
// which lacks
//   2^-16 at most, and of the product of their second parts, which is left out, 2^-16 at most: 3 * 2^-16 together. Over
//   many numbers it is a tenth of that, but a tensor may have five;
// - in bfloat16 that of two factors, each rounded by 2^-8 at most.
#pragma once

#include <string>

#include "lib/backend/backend.h"
#include "tests/support/instruction_sets.h"

namespace distmnist {

inline constexpr double kErrorOfDoubles = 0x1p-24;
inline constexpr double kErrorOfFloats = 1e-5;
inline constexpr double kErrorOfTwoHalves = 3 * 0x1p-16;
inline constexpr double kErrorOfHalves = 2 * 0x1p-8;

// Of a product of the cpu backend. oneDNN has no products of two bfloat16 for a float32.
inline double error_of_product(const CpuOptions& cpu, Precision precision = Precision::kF32) {
  if (precision == Precision::kBf16) return kErrorOfHalves;
  const InstructionSet set = cpu.instruction_set.value_or(best_instruction_set());
  return cpu.builtin_kernels && set == InstructionSet::kAmx ? kErrorOfTwoHalves : kErrorOfFloats;
}

// The same of one of backends_under_test(), in float32.
inline double error_of_product(const std::string& backend) {
  if (backend == "reference") return kErrorOfDoubles;
  if (backend == "tiles") return kErrorOfTwoHalves;
  return error_of_product({.instruction_set = only_instruction_set(), .builtin_kernels = true});
}

// The products that a gradient goes through, the longest way: of the first layer that has weights. Logits go through
// half as many.
inline int products_of(const Graph& graph) {
  int layers = 0;
  for (const Variable& variable : graph.variables) layers += variable.fan_in != 0 ? 1 : 0;
  return 2 * layers;
}

// The largest relative error of a step's logits, loss or gradients.
inline double error_bound(const std::string& backend, const Graph& graph) {
  return error_of_product(backend) * products_of(graph);
}

}  // namespace distmnist
