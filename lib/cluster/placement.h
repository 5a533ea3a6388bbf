// Placement: which ps task holds which part of the parameter block (like TensorFlow's replica_device_setter, with more
// policies).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/range.h"

namespace distmnist {

// A variable in a placement: a name and a range of the block.
struct NamedRange {
  std::string name;
  Range range;

  bool operator==(const NamedRange&) const = default;
};

// Only the ranges, in the same order.
inline std::vector<Range> ranges_of(const std::vector<NamedRange>& pieces) {
  std::vector<Range> out;
  for (const NamedRange& piece : pieces) out.push_back(piece.range);
  return out;
}

enum class PlacementPolicy {
  // Equal bytes for every ps. Variables are cut if needed, at multiples of 16 floats (64 bytes) from their start.
  kSplit,
  // Whole variables in rotation, with global_step as the first: ps 0 has global_step and the second ps the first
  // variable.
  kRoundRobin,
  // Whole variables in order, each on the ps with the fewest bytes so far (the first such ps on a tie); the 8 bytes of
  // global_step count.
  kLoadBalanced,
  // Whole variables, each on the ps of the first rule that matches its name. The variables without a rule follow, in
  // order, each on the ps with the fewest bytes so far, as in kLoadBalanced.
  kManual,
};

// "split", "round_robin", "load_balanced" or "manual". Throws Error (kUsage).
PlacementPolicy parse_placement(std::string_view name);
std::string_view to_string(PlacementPolicy policy);

// Variables whose name matches `pattern`, a glob as in fnmatch(3), belong on ps task `ps`. "*" also matches a slash.
struct PlacementRule {
  std::string pattern;
  int ps = 0;

  bool operator==(const PlacementRule&) const = default;
};

// Parses "conv1/*=/job:ps/task:0,pred/weights=/job:ps/task:1". The job is "ps" or `ps_job`. Throws Error (kUsage),
// which quotes the rule: no pattern, no task, a job other than the ps's, a device that a ps does not have.
std::vector<PlacementRule> parse_placement_rules(std::string_view text, std::string_view ps_job);

// plan[k]: the pieces on ps k, in order of offset. A piece never crosses a variable boundary. global_step is always on
// ps 0. A ps may hold nothing. Every float of every variable is in exactly one piece.
using PlacementPlan = std::vector<std::vector<NamedRange>>;

// num_ps must be at least 1. Pieces are never empty. `rules` are for kManual. Throws Error (kUsage) for a rule that
// names a task that the cluster does not have, or that matches no variable.
PlacementPlan place(const std::vector<NamedRange>& variables, int num_ps, PlacementPolicy policy,
                    std::span<const PlacementRule> rules = {});

// The plan as text for users, one line for each ps: "ps:1 3.25 MB (50.0 %): fully_connected/weights[760704:1568000],
// pred/biases". Bounds count floats from the variable's start. A long line ends in "and 89 more".
std::vector<std::string> describe(const PlacementPlan& plan);

}  // namespace distmnist
