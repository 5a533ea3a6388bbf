// try_threads: whether threads can be started, asked before libraries need them that end the process where they cannot.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

namespace distmnist {

// Starts `count` threads at once and lets them go. std::system_error where not so many can be started.
inline void try_threads(int count) {
  std::atomic<bool> over = false;
  std::vector<std::jthread> threads;  // Joined at the end, however it comes.
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
