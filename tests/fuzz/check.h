// What must hold whatever comes in. Where it does not, the fuzzer keeps the input.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>

// Of the sanitizers' allocator.
extern "C" std::size_t __sanitizer_get_current_allocated_bytes();

namespace distmnist::fuzz {

inline void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

// Memory that is held beyond what was held when this was made.
class MemoryWatch {
 public:
  explicit MemoryWatch(std::size_t most_bytes) : limit_(__sanitizer_get_current_allocated_bytes() + most_bytes) {}
  void check_now() const { check(__sanitizer_get_current_allocated_bytes() <= limit_, "memory is bounded"); }

 private:
  std::size_t limit_;
};

}  // namespace distmnist::fuzz
