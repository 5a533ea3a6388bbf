// Float buffer: a fixed-size buffer of numbers, aligned to a cache line and initialized to zero. A large one asks for
// huge pages, because a training step streams through all parameters and would miss the translation cache at every
// page.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

#include <sys/mman.h>

namespace distmnist::cpu {

template <typename Number>
class NumberBuffer {
 public:
  NumberBuffer() = default;
  explicit NumberBuffer(std::size_t size) : size_(size) {
    constexpr std::size_t kHugePage = 1 << 21;
    const std::size_t used = size * sizeof(Number);
    const std::size_t alignment = used >= kHugePage / 2 ? kHugePage : 64;  // bytes; also the granularity of the size
    const std::size_t bytes = std::max((used + alignment - 1) / alignment * alignment, alignment);
    data_.reset(static_cast<Number*>(std::aligned_alloc(alignment, bytes)));
    if (!data_) throw std::bad_alloc();
    if (alignment == kHugePage) madvise(data_.get(), bytes, MADV_HUGEPAGE);  // if it fails, pages stay small
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
