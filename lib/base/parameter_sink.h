// ParameterSink: receives parameters, or optimizer values in the same layout, piece by piece.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "lib/base/range.h"

namespace distmnist {

class ParameterSink {
 public:
  virtual ~ParameterSink() = default;
  // values.size() == range.size, in canonical layout, valid during the call. Pieces may come in any order. If one comes
  // more than once, the last one counts.
  virtual void load(Range range, std::span<const float> values) = 0;
  // The same with bfloat16 numbers. A sink that needs floats returns false and has done nothing.
  virtual bool load_bf16(Range /*range*/, std::span<const std::uint16_t> /*values*/) { return false; }
};

// Copies them into a block of memory, which must outlive it and have room for all of them.
class BlockSink final : public ParameterSink {
 public:
  explicit BlockSink(std::span<float> block) : block_(block) {}
  void load(Range range, std::span<const float> values) override {
    std::ranges::copy(values, slice(block_, range).begin());
  }

 private:
  std::span<float> block_;
};

}  // namespace distmnist
