// Bounds for the difference of results from exact ones, depending on how they are computed. They hold on every machine
// and are not derived from the results of one. Errors are relative_error(), |error| / |exact| in the L2 norm over all
// numbers of a tensor.
//
// A step is a chain of matrix products (a convolution is one, too): forward through every layer with weights, and back.
// Each product adds its own error to the relative error of its inputs. Everything between products (biases, relu,
// pools, the softmax) adds almost nothing, except for relus and pools that choose differently, so the reference backend
// has to make the same choices before gradients are compared (support/oracle.h).
//
// The error of one product, relative to a term of its sums, is
// - in doubles (the reference backend): rounding the results to float, 2^-24;
// - in float32: the error of the sums. An addition rounds by 2^-24, so n additions in a row give sqrt(n) 2^-24 in the
//   quadratic mean: 1.2e-5 for the longest sums of these tests (a gradient of weights over 50 images of 28 x 28 pixels)
//   if they were one chain. There are 16 or more chains, each of them shorter. Winograd's transforms, on the other
//   hand, add and subtract several numbers for one, in shorter sums. 1e-5 is above both;
// - with AMX, which uses two bfloat16 for a float32 (lib/backend/cpu/builtin/amx/amx_kernels.h): the error of the
// factors, at
//   most 2^-16 for each, and of the omitted product of their second parts, at most 2^-16: together 3 * 2^-16. Over many
//   numbers it is a tenth of that, but a tensor can have only five;
// - in bfloat16: the error of two factors, each rounded by at most 2^-8.
#pragma once

#include <string>

#include "lib/backend/backend.h"
#include "tests/support/instruction_sets.h"

namespace distmnist {

inline constexpr double kErrorOfDoubles = 0x1p-24;
inline constexpr double kErrorOfFloats = 1e-5;
inline constexpr double kErrorOfTwoHalves = 3 * 0x1p-16;
inline constexpr double kErrorOfHalves = 2 * 0x1p-8;

// The error of a product of the cpu backend. oneDNN does not use two bfloat16 for a float32.
inline double error_of_product(const CpuOptions& cpu, Precision precision = Precision::kF32) {
  if (precision == Precision::kBf16) return kErrorOfHalves;
  const InstructionSet set = cpu.instruction_set.value_or(best_instruction_set());
  return cpu.builtin_kernels && set == InstructionSet::kAmx ? kErrorOfTwoHalves : kErrorOfFloats;
}

// The error of a product of one of backends_under_test(), in float32.
inline double error_of_product(const std::string& backend) {
  if (backend == "reference") return kErrorOfDoubles;
  if (backend == "tiles") return kErrorOfTwoHalves;
  return error_of_product({.instruction_set = only_instruction_set(), .builtin_kernels = true});
}

// The number of products on a gradient's longest path, to the first layer with weights. Logits pass through half as
// many.
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
