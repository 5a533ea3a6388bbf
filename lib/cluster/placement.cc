#include "lib/cluster/placement.h"

#include <fnmatch.h>

#include <algorithm>
#include <cassert>
#include <map>
#include <numeric>

#include "lib/base/device_spec.h"
#include "lib/base/error.h"
#include "lib/base/join.h"

namespace distmnist {
namespace {

constexpr std::int64_t kCutFloats = 16;       // 64 bytes, a cache line
constexpr std::int64_t kGlobalStepBytes = 8;  // an int64 on ps 0
constexpr std::size_t kMaxNamesInLine = 12;   // in describe()

std::int64_t bytes_of(std::int64_t floats) {
  return floats * static_cast<std::int64_t>(sizeof(float));
}

std::int64_t total_floats(const std::vector<NamedRange>& pieces) {
  return std::accumulate(pieces.begin(), pieces.end(), std::int64_t{0},
                         [](std::int64_t sum, const NamedRange& piece) { return sum + piece.range.size; });
}

void add_piece(std::vector<NamedRange>& shard, const NamedRange& variable, std::int64_t begin, std::int64_t end) {
  if (end > begin) shard.push_back({variable.name, {variable.range.offset + begin, end - begin}});
}

// Where to cut a variable of `size` floats if the ideal cut is at float `wanted`: at the nearest multiple of
// kCutFloats, or at the variable's end.
std::int64_t cut_near(std::int64_t wanted, std::int64_t size) {
  return std::min(size, (wanted + kCutFloats / 2) / kCutFloats * kCutFloats);
}

// Puts the variables end to end and cuts the line into num_ps stretches of equal length, to within kCutFloats.
PlacementPlan split(const std::vector<NamedRange>& variables, std::int64_t num_ps) {
  PlacementPlan plan(static_cast<std::size_t>(num_ps));
  const std::int64_t total = total_floats(variables);
  std::int64_t line_offset = 0;  // of the variable's first float
  std::int64_t ps = 0;
  for (const NamedRange& variable : variables) {
    const std::int64_t size = variable.range.size;
    std::int64_t begin = 0;
    while (ps + 1 < num_ps) {
      const std::int64_t stretch_end = total * (ps + 1) / num_ps;
      if (stretch_end >= line_offset + size) break;
      const std::int64_t cut = std::max(begin, cut_near(stretch_end - line_offset, size));
      add_piece(plan[static_cast<std::size_t>(ps)], variable, begin, cut);
      begin = cut;
      ++ps;
    }
    add_piece(plan[static_cast<std::size_t>(ps)], variable, begin, size);
    line_offset += size;
  }
  return plan;
}

PlacementPlan round_robin(const std::vector<NamedRange>& variables, std::size_t num_ps) {
  PlacementPlan plan(num_ps);
  std::size_t turn = 1;  // global_step had turn 0
  for (const NamedRange& variable : variables) add_piece(plan[turn++ % num_ps], variable, 0, variable.range.size);
  return plan;
}

bool fits(const PlacementRule& rule, const NamedRange& variable) {
  return fnmatch(rule.pattern.c_str(), variable.name.c_str(), 0) == 0;
}

void check_rules(std::span<const PlacementRule> rules, const std::vector<NamedRange>& variables, std::size_t num_ps) {
  for (const PlacementRule& rule : rules) {
    if (static_cast<std::size_t>(rule.ps) >= num_ps) {
      fail(ExitCode::kUsage,
           "--place_variables: '{}' is assigned to ps task {}, but the cluster has only tasks 0 to {}", rule.pattern,
           rule.ps, num_ps - 1);
    }
    if (std::ranges::none_of(variables, [&](const NamedRange& variable) { return fits(rule, variable); })) {
      std::vector<std::string> names;
      for (const NamedRange& variable : variables) names.push_back(variable.name);
      fail(ExitCode::kUsage, "--place_variables: '{}' matches no variable of the model, which has {}", rule.pattern,
           join(names, ", "));
    }
  }
}

// The rules come first, so that the remaining variables balance the load.
PlacementPlan by_rules(const std::vector<NamedRange>& variables, std::size_t num_ps,
                       std::span<const PlacementRule> rules) {
  PlacementPlan plan(num_ps);
  std::vector<std::int64_t> load_bytes(num_ps);
  load_bytes[0] = kGlobalStepBytes;
  const auto put = [&](const NamedRange& variable, std::size_t ps) {
    load_bytes[ps] += bytes_of(variable.range.size);
    add_piece(plan[ps], variable, 0, variable.range.size);
  };
  std::vector<NamedRange> left_over;
  for (const NamedRange& variable : variables) {
    const auto rule = std::ranges::find_if(rules, [&](const PlacementRule& each) { return fits(each, variable); });
    if (rule == rules.end()) {
      left_over.push_back(variable);
    } else {
      put(variable, static_cast<std::size_t>(rule->ps));
    }
  }
  for (const NamedRange& variable : left_over) {
    put(variable, static_cast<std::size_t>(std::ranges::min_element(load_bytes) - load_bytes.begin()));
  }
  return plan;
}

// "pred/weights=/job:ps/task:1"
PlacementRule parse_rule(std::string_view text, std::string_view ps_job) {
  constexpr std::string_view kExample = "write for example 'conv1/*=/job:ps/task:0'";
  const std::size_t equals = text.rfind('=');
  if (equals == std::string_view::npos || equals == 0) {
    fail(ExitCode::kUsage, "--place_variables: '{}' is not a pattern and a task; {}", text, kExample);
  }
  const DeviceSpec place = parse_device(text.substr(equals + 1));
  if (!place.job || !place.task) {
    fail(ExitCode::kUsage, "--place_variables: '{}' does not name a job and a task; {}", text, kExample);
  }
  if (*place.job != "ps" && *place.job != ps_job) {
    fail(ExitCode::kUsage, "--place_variables: '{}' names the job {}, but variables are on the ps; {}", text,
         *place.job, kExample);
  }
  if (place.replica.value_or(0) != 0 || place.type.value_or("CPU") != "CPU" || place.index.value_or(0) != 0) {
    fail(ExitCode::kUsage, "--place_variables: '{}': a ps task has only its /cpu:0; {}", text, kExample);
  }
  return {std::string(text.substr(0, equals)), *place.task};
}

std::string size_text(std::int64_t size_bytes) {
  const auto bytes = static_cast<double>(size_bytes);
  if (bytes < 1e3) return fmt::format("{} B", size_bytes);
  return bytes < 1e6 ? fmt::format("{:.2f} kB", bytes / 1e3) : fmt::format("{:.2f} MB", bytes / 1e6);
}

// The range of a variable from its first float to its last, collected from its pieces.
using Extents = std::map<std::string, Range>;

Extents extents_of(const PlacementPlan& plan) {
  Extents extents;
  for (const std::vector<NamedRange>& shard : plan) {
    for (const auto& [name, range] : shard) {
      Range& extent = extents.try_emplace(name, range).first->second;
      const std::int64_t end = std::max(extent.end(), range.end());
      extent.offset = std::min(extent.offset, range.offset);
      extent.size = end - extent.offset;
    }
  }
  return extents;
}

// "conv1/weights" if whole, "conv1/weights[0:400]" for a part, in floats from the variable's start.
std::string piece_text(const NamedRange& piece, const Range& variable) {
  if (piece.range == variable) return piece.name;
  const std::int64_t begin = piece.range.offset - variable.offset;
  return fmt::format("{}[{}:{}]", piece.name, begin, begin + piece.range.size);
}

}  // namespace

PlacementPolicy parse_placement(std::string_view name) {
  for (const auto policy : {PlacementPolicy::kSplit, PlacementPolicy::kRoundRobin, PlacementPolicy::kLoadBalanced,
                            PlacementPolicy::kManual}) {
    if (name == to_string(policy)) return policy;
  }
  fail(ExitCode::kUsage, "unknown placement '{}': choose split, round_robin, load_balanced or manual", name);
}

std::string_view to_string(PlacementPolicy policy) {
  switch (policy) {
    case PlacementPolicy::kSplit:
      return "split";
    case PlacementPolicy::kRoundRobin:
      return "round_robin";
    case PlacementPolicy::kLoadBalanced:
      return "load_balanced";
    case PlacementPolicy::kManual:
      return "manual";
  }
  return "?";
}

std::vector<PlacementRule> parse_placement_rules(std::string_view text, std::string_view ps_job) {
  std::vector<PlacementRule> rules;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    rules.push_back(parse_rule(text.substr(begin, end - begin), ps_job));
    begin = end + 1;
  }
  return rules;
}

PlacementPlan place(const std::vector<NamedRange>& variables, int num_ps, PlacementPolicy policy,
                    std::span<const PlacementRule> rules) {
  assert(num_ps >= 1 && (policy == PlacementPolicy::kManual || rules.empty()));
  const auto shards = static_cast<std::size_t>(num_ps);
  PlacementPlan plan;
  switch (policy) {
    case PlacementPolicy::kSplit:
      plan = split(variables, num_ps);
      break;
    case PlacementPolicy::kRoundRobin:
      plan = round_robin(variables, shards);
      break;
    case PlacementPolicy::kLoadBalanced:
      plan = by_rules(variables, shards, {});
      break;
    case PlacementPolicy::kManual:
      check_rules(rules, variables, shards);
      plan = by_rules(variables, shards, rules);
      break;
  }
  for (std::vector<NamedRange>& shard : plan) {
    std::sort(shard.begin(), shard.end(),
              [](const NamedRange& a, const NamedRange& b) { return a.range.offset < b.range.offset; });
  }
  return plan;
}

std::vector<std::string> describe(const PlacementPlan& plan) {
  const Extents extents = extents_of(plan);
  std::int64_t total = 0;
  for (const std::vector<NamedRange>& shard : plan) total += total_floats(shard);
  std::vector<std::string> lines;
  for (std::size_t ps = 0; ps < plan.size(); ++ps) {
    std::vector<std::string> names;
    if (ps == 0) names.push_back("global_step");
    for (const NamedRange& piece : plan[ps]) names.push_back(piece_text(piece, extents.at(piece.name)));
    if (names.empty()) names.push_back("nothing");
    if (names.size() > kMaxNamesInLine) {
      const std::size_t left_out = names.size() - kMaxNamesInLine;
      names.resize(kMaxNamesInLine);
      names.push_back(fmt::format("and {} more", left_out));
    }
    const std::int64_t floats = total_floats(plan[ps]);
    const double percent = total == 0 ? 0.0 : 100.0 * static_cast<double>(floats) / static_cast<double>(total);
    lines.push_back(
        fmt::format("ps:{} {} ({:.1f} %): {}", ps, size_text(bytes_of(floats)), percent, join(names, ", ")));
  }
  return lines;
}

}  // namespace distmnist
