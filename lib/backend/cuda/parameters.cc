#include "lib/backend/cuda/parameters.h"

#include <algorithm>

namespace distmnist::cuda {

Parameters::Parameters(DeviceMemory& memory, const Graph& graph, const Arithmetic& arithmetic)
    : memory_(memory),
      values_(memory, graph.num_parameters, "the parameters"),
      gradients_(memory, graph.num_parameters, "the gradients") {
  if (arithmetic.type == NumberType::kBf16) {
    copy_ = DeviceArray<std::uint16_t>(memory, graph.num_parameters, "the parameters in bfloat16");
  }
}

void* Parameters::factors(Range range) const {
  if (copy_.data() != nullptr) return copy_.data() + range.offset;
  return values(range);
}

void* Parameters::add_packed(Range weights, const FilterPacking& packing) {
  // Plans for different batch sizes share their filters.
  const auto known = std::ranges::find(packed_, weights, &PackedFilters::weights);
  if (known != packed_.end()) return known->data.data();
  packed_.push_back(
      {weights, packing, DeviceArray<std::uint8_t>(memory_, weights.size * size_of(packing.type), "packed filters")});
  return packed_.back().data.data();
}

void Parameters::refresh(cudaStream_t stream, bool without_bf16) const {
  if (copy_.data() != nullptr && !without_bf16) to_bf16(stream, values_.data(), values_.size(), copy_.data());
  for (const PackedFilters& each : packed_) {
    pack_filters(stream, values(each.weights), each.packing, each.data.data());
  }
}

}  // namespace distmnist::cuda
