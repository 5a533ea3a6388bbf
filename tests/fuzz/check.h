// Conditions that must be true for every input. The fuzzer keeps an input for which one is false.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>

// From the sanitizers' allocator.
extern "C" std::size_t __sanitizer_get_current_allocated_bytes();

namespace distmnist::fuzz {

inline void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

// The memory allocated since this object was created.
class MemoryWatch {
 public:
  explicit MemoryWatch(std::size_t most_bytes) : limit_(__sanitizer_get_current_allocated_bytes() + most_bytes) {}
  void check_now() const { check(__sanitizer_get_current_allocated_bytes() <= limit_, "memory is bounded"); }

 private:
  std::size_t limit_;
};

}  // namespace distmnist::fuzz
