// The executor's parameters and gradients, in canonical layout.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/backend/cpu/float_buffer.h"
#include "lib/graph/graph.h"

namespace distmnist::cpu {

// Counts the changes of each variable, so that a kernel that keeps a packed copy sees whether its copy is stale.
class Parameters {
 public:
  explicit Parameters(const Graph& graph)
      : values_(static_cast<std::size_t>(graph.num_parameters)),
        gradients_(static_cast<std::size_t>(graph.num_parameters)) {
    for (const Variable& variable : graph.variables) variables_.push_back({variable.range, 0});
  }

  void load(Range range, std::span<const float> values) {
    std::ranges::copy(values, slice(values_.span(), range).begin());
    for (Tracked& variable : variables_) {
      if (variable.range.offset < range.end() && range.offset < variable.range.end()) ++variable.version;
    }
  }
  std::span<const float> values(Range range) const { return slice(values_.span(), range); }

  // The number of loads that touched the variable at `range`.
  std::uint64_t version(Range range) const { return std::ranges::find(variables_, range, &Tracked::range)->version; }

  std::span<float> gradients(Range range) { return slice(gradients_.span(), range); }
  std::span<float> gradients() { return gradients_.span(); }

  // oneDNN takes every address as void*, what it only reads too.
  void* address(Range range) { return values_.data() + range.offset; }
  void* gradient_address(Range range) { return gradients_.data() + range.offset; }

 private:
  struct Tracked {
    Range range;
    std::uint64_t version;
  };
  FloatBuffer values_;
  FloatBuffer gradients_;
  std::vector<Tracked> variables_;
};

}  // namespace distmnist::cpu
