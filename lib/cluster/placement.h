// Placement: which ps task holds which part of the parameter block (TensorFlow's replica_device_setter, and better).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/range.h"

namespace distmnist {

// A variable as placement sees it: a name and a range of the block.
struct NamedRange {
  std::string name;
  Range range;

  bool operator==(const NamedRange&) const = default;
};

enum class PlacementPolicy {
  kSplit,         // equal bytes for every ps; variables are cut where needed, at multiples of 16 floats (64 bytes)
  kRoundRobin,    // whole variables in turn, global_step counted first, so ps 0 has global_step and the second ps the first variable
  kLoadBalanced,  // whole variables, each to the ps with the fewest bytes so far, the first of them on a tie
};

PlacementPolicy parse_placement(std::string_view name);  // "split", "round_robin", "load_balanced"; Error (kUsage)

// plan[k]: the pieces ps k holds, in order of offset; a piece never crosses a variable. global_step is on ps 0 always.
// A ps may hold nothing. Every float of every variable is in exactly one piece.
using PlacementPlan = std::vector<std::vector<NamedRange>>;

PlacementPlan place(const std::vector<NamedRange>& variables, int num_ps, PlacementPolicy policy);

// The plan for a person, a line per ps: "ps:0 3.25 MB (50.0 %): global_step, conv1/weights, ..., fully_connected/weights[0:812803]".
std::vector<std::string> describe(const PlacementPlan& plan);

}  // namespace distmnist
