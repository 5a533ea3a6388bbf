// The checks of hardened builds treat a jump to a different stack as an error.
#undef _FORTIFY_SOURCE

#include "tests/support/cuda_on_host/fibers.h"

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <setjmp.h>
#include <ucontext.h>

#include "tests/support/cuda_on_host/include/cuda_on_host/device_functions.h"

namespace cuda_on_host {

Place place;

namespace {

constexpr std::size_t kStackBytes = 128 << 10;
constexpr int kWarp = 32;
constexpr std::uint64_t kNothingGiven = ~std::uint64_t{0};

enum class State : std::uint8_t { kNotStarted, kRunning, kReady, kAtBarrier, kInWarp, kEnded };
enum class WarpCall : std::uint8_t { kSync, kShuffle, kBallot };

// The place where a fiber, or the scheduler, stopped. A context is used only to start a fiber, because each
// swapcontext() would make two system calls for the signal mask, and kernels wait millions of times.
struct Fiber {
  jmp_buf stopped{};
  bool is_new = true;
  ucontext_t start{};
  std::unique_ptr<std::byte[]> stack = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
};

struct Thread {
  State state = State::kNotStarted;
  Fiber* fiber = nullptr;  // the fiber in which it stopped
  // Its call, which the other lanes have to join.
  WarpCall call = WarpCall::kSync;
  unsigned mask = 0;
  std::uint64_t given = 0, received = 0;
  int source = 0;
};

struct Block {
  const std::function<void()>* code = nullptr;
  bool last_thread_first = false;
  std::vector<Thread> threads;
  std::size_t started = 0, at_barrier = 0;
  std::vector<std::size_t> ready;
  std::size_t current = 0;
  std::exception_ptr failure;
};

Block block;
jmp_buf scheduler;
std::vector<std::unique_ptr<Fiber>> all_fibers;
std::vector<Fiber*> idle_fibers;
Fiber* current_fiber = nullptr;

// Continues where `to` stopped. Not inlined, so that no caller's variables are live across the return.
[[gnu::noinline]] void leap(jmp_buf& from, jmp_buf& to) {
  if (_setjmp(from) == 0) _longjmp(to, 1);
}

[[gnu::noinline]] void start(jmp_buf& from, const ucontext_t& to) {
  if (_setjmp(from) == 0) setcontext(&to);
}

void enter(std::size_t index) {
  block.current = index;
  const auto i = static_cast<unsigned>(index);
  const dim3& size = place.block_size;
  place.thread = {i % size.x, i / size.x % size.y, i / size.x / size.y};
}

// Lets other threads run until this one is ready() again.
void wait() {
  const std::size_t index = block.current;
  Fiber* fiber = current_fiber;
  block.threads[index].fiber = fiber;
  leap(fiber->stopped, scheduler);
  current_fiber = fiber;
  enter(index);
  block.threads[index].state = State::kRunning;
}

void make_ready(std::size_t index) {
  block.threads[index].state = State::kReady;
  block.ready.push_back(index);
}

// The threads of the warp of `index`, starting with its first one; the last warp can have fewer than 32.
std::span<Thread> warp_of(std::size_t index) {
  const std::size_t first = index / kWarp * kWarp;
  return std::span(block.threads).subspan(first, std::min<std::size_t>(kWarp, block.threads.size() - first));
}

void exchange(std::span<Thread> warp, const Thread& caller) {
  std::uint64_t votes = 0;
  for (std::size_t lane = 0; lane < warp.size(); ++lane) {
    const bool takes_part = warp[lane].state != State::kEnded && (caller.mask >> lane & 1) != 0;
    if (takes_part && warp[lane].given != 0) votes |= std::uint64_t{1} << lane;
  }
  std::array<std::uint64_t, kWarp> received{};
  for (std::size_t lane = 0; lane < warp.size(); ++lane) {
    const auto source = static_cast<std::size_t>(warp[lane].source);
    const bool given = source < warp.size() && warp[source].state != State::kEnded && (caller.mask >> source & 1) != 0;
    received[lane] = caller.call == WarpCall::kBallot ? votes : given ? warp[source].given : kNothingGiven;
  }
  // The other lanes may still have to read the values from an earlier call.
  for (std::size_t lane = 0; lane < warp.size(); ++lane) {
    if ((caller.mask >> lane & 1) != 0) warp[lane].received = received[lane];
  }
}

// Ends a warp's call if every lane of the mask that has not ended has made it. `caller` is one of its lanes.
bool complete_warp_call(std::size_t caller_index) {
  const std::span<Thread> warp = warp_of(caller_index);
  const Thread caller = block.threads[caller_index];
  const auto in_mask = [&](std::size_t lane) { return (caller.mask >> lane & 1) != 0; };
  for (std::size_t lane = 0; lane < warp.size(); ++lane) {
    const Thread& other = warp[lane];
    if (!in_mask(lane) || other.state == State::kEnded) continue;
    if (other.state != State::kInWarp || other.call != caller.call || other.mask != caller.mask) return false;
  }
  exchange(warp, caller);
  for (std::size_t lane = 0; lane < warp.size(); ++lane) {
    if (in_mask(lane) && warp[lane].state == State::kInWarp) make_ready(caller_index / kWarp * kWarp + lane);
  }
  return true;
}

std::uint64_t call_warp(WarpCall call, unsigned mask, std::uint64_t given, int source) {
  const std::size_t index = block.current;
  if ((mask >> (index % kWarp) & 1) == 0) {
    throw KernelFault(
        fmt::format("thread {} makes a warp call with mask {:#x}, which leaves its own lane out", index, mask));
  }
  Thread& self = block.threads[index];
  self.call = call;
  self.mask = mask;
  self.given = given;
  self.source = source;
  self.state = State::kInWarp;
  complete_warp_call(index);
  wait();
  return self.received;
}

// A warp may have waited for this thread; after it has ended CUDA does not wait for it.
void end_thread(std::size_t index) {
  block.threads[index].state = State::kEnded;
  const std::size_t first = index / kWarp * kWarp;
  const std::size_t last = std::min(first + kWarp, block.threads.size());
  for (std::size_t other = first; other < last; ++other) {
    if (block.threads[other].state == State::kInWarp) complete_warp_call(other);
  }
}

void run_next_thread() {
  const std::size_t place_in_order = block.started++;
  enter(block.last_thread_first ? block.threads.size() - 1 - place_in_order : place_in_order);
  block.threads[block.current].state = State::kRunning;
  (*block.code)();
  end_thread(block.current);
}

// The main function of a fiber: it runs threads until one has to wait, and continues with others when that one has
// ended.
void live() {
  for (;;) {
    try {
      while (block.started < block.threads.size()) run_next_thread();
    } catch (...) {
      block.failure = std::current_exception();
    }
    Fiber* self = current_fiber;
    idle_fibers.push_back(self);
    leap(self->stopped, scheduler);
    current_fiber = self;
  }
}

Fiber* new_fiber() {
  all_fibers.push_back(std::make_unique<Fiber>());
  Fiber& fiber = *all_fibers.back();
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = fiber.stack.get();
  fiber.start.uc_stack.ss_size = kStackBytes;
  makecontext(&fiber.start, &live, 0);
  return &fiber;
}

void switch_to(Fiber* fiber) {
  current_fiber = fiber;
  if (std::exchange(fiber->is_new, false)) {
    start(scheduler, fiber->start);
  } else {
    leap(scheduler, fiber->stopped);
  }
}

[[noreturn]] void fail_divergent() {
  std::size_t at_barrier = 0, in_warp = 0, ended = 0;
  for (const Thread& thread : block.threads) {
    at_barrier += thread.state == State::kAtBarrier;
    in_warp += thread.state == State::kInWarp;
    ended += thread.state == State::kEnded;
  }
  throw KernelFault(fmt::format(
      "block ({}, {}, {}) of {} threads cannot go on: {} wait at __syncthreads, {} in a warp call, {} have ended",
      place.block.x, place.block.y, place.block.z, block.threads.size(), at_barrier, in_warp, ended));
}

void run_block() {
  for (;;) {
    if (block.failure) std::rethrow_exception(block.failure);
    if (!block.ready.empty()) {
      const std::size_t index = block.ready.back();
      block.ready.pop_back();
      switch_to(block.threads[index].fiber);
    } else if (block.started < block.threads.size()) {
      Fiber* fiber = idle_fibers.empty() ? new_fiber() : idle_fibers.back();
      if (!idle_fibers.empty()) idle_fibers.pop_back();
      switch_to(fiber);
    } else {
      break;
    }
  }
  for (const Thread& thread : block.threads) {
    if (thread.state != State::kEnded) fail_divergent();
  }
}

}  // namespace

void sync_threads() {
  block.threads[block.current].state = State::kAtBarrier;
  if (++block.at_barrier == block.threads.size()) {
    block.at_barrier = 0;
    for (std::size_t i = block.threads.size(); i-- > 0;) make_ready(i);
  }
  wait();
}

void sync_warp(unsigned mask) {
  call_warp(WarpCall::kSync, mask, 0, 0);
}

std::uint64_t shuffle(unsigned mask, std::uint64_t value, int source) {
  return call_warp(WarpCall::kShuffle, mask, value, source);
}

unsigned ballot(unsigned mask, bool predicate) {
  return static_cast<unsigned>(call_warp(WarpCall::kBallot, mask, predicate ? 1 : 0, 0));
}

int lane() {
  return static_cast<int>(block.current % kWarp);
}

void run_grid(dim3 grid, dim3 size, Order order, const std::function<void()>& thread) {
  place.grid_size = grid;
  place.block_size = size;
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  try {
    for (std::uint64_t i = 0; i < blocks; ++i) {
      const std::uint64_t index = order.last_block_first ? blocks - 1 - i : i;
      place.block = {static_cast<unsigned>(index % grid.x), static_cast<unsigned>(index / grid.x % grid.y),
                     static_cast<unsigned>(index / grid.x / grid.y)};
      block.code = &thread;
      block.last_thread_first = order.last_thread_first;
      block.threads.assign(std::size_t{size.x} * size.y * size.z, Thread{});
      block.started = block.at_barrier = 0;
      block.ready.clear();
      run_block();
    }
  } catch (...) {
    // The fibers of the other threads stopped inside the kernel and cannot be used again.
    block.failure = nullptr;
    idle_fibers.clear();
    all_fibers.clear();
    throw;
  }
}

}  // namespace cuda_on_host
