// Placement: which ps task holds which part of the parameter block (TensorFlow's replica_device_setter, and better).
#pragma once

#include <cstdint>
#include <span>
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

// Their ranges alone, in the same order.
inline std::vector<Range> ranges_of(const std::vector<NamedRange>& pieces) {
  std::vector<Range> out;
  for (const NamedRange& piece : pieces) out.push_back(piece.range);
  return out;
}

enum class PlacementPolicy {
  // Equal bytes for every ps; variables are cut where needed, at multiples of 16 floats (64 bytes) from their start.
  kSplit,
  // Whole variables in turn, global_step counted first: ps 0 has global_step and the second ps the first variable.
  kRoundRobin,
  // Whole variables in their order, each to the ps with the fewest bytes so far, the first of them on a tie; the 8
  // bytes of global_step count.
  kLoadBalanced,
  // Whole variables, each where the first rule that fits its name says; those that no rule names then go, in their
  // order, to the ps with the fewest bytes so far, as with kLoadBalanced.
  kManual,
};

// "split", "round_robin", "load_balanced" or "manual". Error (kUsage).
PlacementPolicy parse_placement(std::string_view name);

// Variables whose name fits `pattern`, a glob as of fnmatch(3), belong on ps task `ps`. "*" fits a slash, too.
struct PlacementRule {
  std::string pattern;
  int ps = 0;

  bool operator==(const PlacementRule&) const = default;
};

// Reads "conv1/*=/job:ps/task:0,pred/weights=/job:ps/task:1". The job is "ps" or `ps_job`. Error (kUsage) quotes the
// rule: no pattern, no task, a job that is not the ps's, a device that a ps does not have.
std::vector<PlacementRule> parse_placement_rules(std::string_view text, std::string_view ps_job);

// plan[k]: the pieces ps k holds, in order of offset; a piece never crosses a variable. global_step is on ps 0 always.
// A ps may hold nothing. Every float of every variable is in exactly one piece.
using PlacementPlan = std::vector<std::vector<NamedRange>>;

// num_ps is at least 1. Pieces are never empty. `rules` are those of kManual. Error (kUsage): a rule that names a task
// the cluster does not have, or that fits no variable.
PlacementPlan place(const std::vector<NamedRange>& variables, int num_ps, PlacementPolicy policy,
                    std::span<const PlacementRule> rules = {});

// The plan for a person, a line per ps: "ps:1 3.25 MB (50.0 %): fully_connected/weights[760704:1568000], pred/biases".
// Bounds count floats from the variable's start. A long line ends in "and 89 more".
std::vector<std::string> describe(const PlacementPlan& plan);

}  // namespace distmnist
