// ThreadPool: a fixed set of threads that share one piece of work at a time, repeatedly, without an allocation or a
// lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace distmnist {

// A waiting thread spins briefly (kSpinSeconds) and then sleeps: it starts new work that comes soon without the
// kernel's help, and otherwise leaves the core to others. Only one thread at a time may call run() or run_pieces().
class ThreadPool {
 public:
  // `size`: the number of threads including the caller's, at least 1; for 1, none is started. Throws std::system_error
  // if a thread cannot be started.
  explicit ThreadPool(int size);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return size_; }

  // Calls work(part) once for each part in 0 .. size() - 1, each on its own thread. A part always runs on the same
  // thread, part 0 on the caller's. Returns when all calls have returned. `work` must not throw.
  template <typename Work>
  void run(const Work& work) {
    if (size_ == 1) return work(0);
    run_all([](const void* context, int part) { (*static_cast<const Work*>(context))(part); }, &work);
  }

  // Calls work(part, piece) with pieces of 0 .. size - 1, each of `unit` except the last. A free thread takes the next
  // piece, so one slow thread does not hold up the others. For work whose result does not depend on which thread does
  // it.
  template <typename Work>
  void run_pieces(std::int64_t size, std::int64_t unit, const Work& work);

 private:
  using Call = void (*)(const void* context, int part);
  void run_all(Call call, const void* context);
  void stop();
  void serve(int part);

  const int size_;
  Call call_ = nullptr;  // null: the threads end
  const void* context_ = nullptr;
  alignas(64) std::atomic<std::uint32_t> turn_{0};        // changes when there is work
  alignas(64) std::atomic<std::uint32_t> unfinished_{0};  // threads that are still working
  std::vector<std::thread> threads_;
};

// Part `part` of `parts` equal parts of 0 .. size - 1. If it does not divide evenly, the first parts are larger by one
// `unit`. All parts except the last end at a multiple of `unit`.
struct Share {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};
inline Share share_of(std::int64_t size, int part, int parts, std::int64_t unit = 1) {
  const std::int64_t units = (size + unit - 1) / unit;
  const auto bound = [&](std::int64_t p) {
    const std::int64_t at = (units / parts * p + (p < units % parts ? p : units % parts)) * unit;
    return at < size ? at : size;
  };
  return {bound(part), bound(part + 1)};
}

template <typename Work>
void ThreadPool::run_pieces(std::int64_t size, std::int64_t unit, const Work& work) {
  std::atomic<std::int64_t> next{0};
  run([&](int part) {
    for (;;) {
      const std::int64_t begin = next.fetch_add(unit, std::memory_order_relaxed);
      if (begin >= size) return;
      work(part, Share{begin, begin + unit < size ? begin + unit : size});
    }
  });
}

}  // namespace distmnist
