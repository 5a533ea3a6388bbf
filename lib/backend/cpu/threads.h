// ThreadScope: sets the number of OpenMP threads (oneDNN's) of the calling thread within a scope.
#pragma once

#include <omp.h>

namespace distmnist::cpu {

// OpenMP's setting is per calling thread, and an executor may be called from any thread. It is therefore set at every
// entry and restored afterwards, because the caller may use a different number.
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
