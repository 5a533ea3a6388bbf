#include "lib/base/thread_pool.h"

#include <cassert>

#include "lib/base/clock.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace distmnist {
namespace {

// A few times as long as waking a thread takes on a virtual machine. It is about as long as a step works on one thread
// between two pieces of shared work.
constexpr double kSpinSeconds = 200e-6;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Waits until `value` differs from `old`, and returns it.
std::uint32_t await_change(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  constexpr int kLooksPerClock = 16;
  const double until_s = monotonic_s() + kSpinSeconds;
  do {
    for (int look = 0; look < kLooksPerClock; ++look) {
      if (const std::uint32_t now = value.load(std::memory_order_acquire); now != old) return now;
      pause();
    }
  } while (monotonic_s() < until_s);
  value.wait(old, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int size) : size_(size) {
  assert(size >= 1);
  try {
    for (int part = 1; part < size; ++part) threads_.emplace_back([this, part] { serve(part); });
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() {
  stop();
}

void ThreadPool::stop() {
  call_ = nullptr;
  turn_.fetch_add(1, std::memory_order_release);
  turn_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run_all(Call call, const void* context) {
  call_ = call;
  context_ = context;
  unfinished_.store(static_cast<std::uint32_t>(size_ - 1), std::memory_order_relaxed);
  turn_.fetch_add(1, std::memory_order_release);
  turn_.notify_all();
  call(context, 0);
  std::uint32_t left = unfinished_.load(std::memory_order_acquire);
  while (left != 0) left = await_change(unfinished_, left);
}

void ThreadPool::serve(int part) {
  std::uint32_t turn = 0;
  while (true) {
    turn = await_change(turn_, turn);
    if (call_ == nullptr) return;
    call_(context_, part);
    if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
  }
}

}  // namespace distmnist
