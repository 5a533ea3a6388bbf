// into(block): a sink for one call that writes parameters into `block`.
#pragma once

#include <vector>

#include "lib/base/parameter_sink.h"

namespace distmnist {

class Into {
 public:
  explicit Into(std::vector<float>& block) : sink_(block) {}
  operator ParameterSink&() { return sink_; }

 private:
  BlockSink sink_;
};

// `block` must have room for all of them.
inline Into into(std::vector<float>& block) {
  return Into(block);
}

// Discards parameters.
class NoSink final : public ParameterSink {
 public:
  void load(Range, std::span<const float>) override {}
};

}  // namespace distmnist
