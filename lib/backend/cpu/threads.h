// How many OpenMP threads (oneDNN's) serve the calling thread, for as long as a scope lasts.
#pragma once

#include <omp.h>

namespace distmnist::cpu {

// OpenMP's setting belongs to the calling thread, and an executor may be called from any thread: so it is set at every
// entry and put back, for the caller may have another number of its own.
class ThreadScope {
 public:
  explicit ThreadScope(int threads) : previous_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~ThreadScope() { omp_set_num_threads(previous_); }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int previous_;
};

}  // namespace distmnist::cpu
