// StoredModel: a whole model and how far its training has come.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

namespace distmnist {

// By worker index: the samples in the worker's own order that are behind it, because their batch was applied or
// dropped.
using ConsumedSamples = std::map<std::uint32_t, std::int64_t>;

// What a run keeps besides the numbers of its model.
struct RunProgress {
  std::uint64_t run_id = 0;  // drawn when the run first started; a resumed run keeps it
  ConsumedSamples consumed_samples;
  std::set<std::uint32_t> done;  // the workers that have reported that they are done
};

// The parameter block, and the optimizer's slots in the same layout.
struct StoredModel : RunProgress {
  std::int64_t global_step = 0;
  std::vector<float> parameters;          // [num_parameters]
  std::vector<std::vector<float>> slots;  // [slot][num_parameters], in the order of slot_names
};

}  // namespace distmnist
