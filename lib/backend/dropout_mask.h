// Dropout mask: the factors of dropout, equal in every backend and for every batch size and number of threads.
#pragma once

#include <cstdint>
#include <span>

#include "lib/backend/backend.h"
#include "lib/graph/graph.h"

namespace distmnist {

// Fills `factors` [batch, layer.input.size()] (CHW order) with 1 / keep_prob, with probability keep_prob, or 0. A pure
// function of the options' seed and stream, the layer's stream and each sample's number (first_sample, first_sample +
// 1, ...).
void fill_dropout_mask(const CompileOptions& options, const Dropout& layer, std::uint64_t first_sample,
                       std::span<float> factors);

}  // namespace distmnist
