// Float buffer: a fixed-size buffer of numbers, aligned to a cache line and initialized to zero.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

namespace distmnist::cpu {

template <typename Number>
class NumberBuffer {
 public:
  NumberBuffer() = default;
  explicit NumberBuffer(std::size_t size) : size_(size) {
    constexpr std::size_t kAlignment = 64;  // bytes; also the granularity of aligned_alloc's size
    const std::size_t bytes = (size * sizeof(Number) + kAlignment - 1) / kAlignment * kAlignment;
    data_.reset(static_cast<Number*>(std::aligned_alloc(kAlignment, std::max(bytes, kAlignment))));
    if (!data_) throw std::bad_alloc();
    std::fill_n(data_.get(), size, Number{});
  }

  Number* data() { return data_.get(); }
  const Number* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  std::span<Number> span() { return {data(), size_}; }
  std::span<const Number> span() const { return {data(), size_}; }

 private:
  struct Free {
    void operator()(Number* data) const { std::free(data); }
  };
  std::unique_ptr<Number[], Free> data_;
  std::size_t size_ = 0;
};
using FloatBuffer = NumberBuffer<float>;

}  // namespace distmnist::cpu
