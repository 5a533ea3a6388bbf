// try_threads: checks that threads can be started, before libraries need them that end the process on failure.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

namespace distmnist {

// Starts `count` threads at once, then lets them end. Throws std::system_error if that many cannot be started.
inline void try_threads(int count) {
  std::atomic<bool> over = false;
  std::vector<std::jthread> threads;  // joined on every exit
  const auto let_go = [&over] {
    over = true;
    over.notify_all();
  };
  try {
    for (int i = 0; i < count; ++i) threads.emplace_back([&over] { over.wait(false); });
  } catch (...) {
    let_go();
    throw;
  }
  let_go();
}

}  // namespace distmnist
