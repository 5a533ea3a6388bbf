#include "lib/backend/dropout_mask.h"

#include "lib/base/random.h"

namespace distmnist {

void fill_dropout_mask(const CompileOptions& options, const Dropout& layer, std::uint64_t first_sample,
                       std::span<float> factors) {
  const Random random(mix64(options.seed) ^ options.stream, layer.stream);
  const float kept = 1.0f / layer.keep_prob;
  // Samples are consecutive in the random stream, so a batch is one contiguous range of it.
  const std::uint64_t start = first_sample * static_cast<std::uint64_t>(layer.input.size());
  for (std::size_t i = 0; i < factors.size(); ++i) {
    factors[i] = Random::to_unit(random.at(start + i)) < layer.keep_prob ? kept : 0.0f;
  }
}

}  // namespace distmnist
