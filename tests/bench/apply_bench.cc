// Measures how long the ps takes to apply one update, for each optimizer, wire type and number of threads, and compares
// it with a loop that only goes through the same memory.
//   apply_bench [floats] [repeats]
// The bytes counted are: parameters and slots, read and written, 4 bytes each; the gradient, read, and the reply that
// replaces it, written, 4 or 2 bytes each. The streaming loop has arrays of the same number and sizes and multiplies
// every float (every 4 bytes of the gradient) by a constant, one array after the other, with the same number of
// threads. It is not an upper limit, because several streams at once can be faster. A size that fits in the last-level
// cache is measured there; the second, larger size does not fit.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/thread_pool.h"
#include "lib/ps/store/variable_store.h"
#include "lib/wire/frame.h"

namespace distmnist {
namespace {

constexpr std::int64_t kModelFloats = 1'625'606;  // of the MNIST CNN
constexpr std::int64_t kLargeFloats = 8 * kModelFloats;

// The best times in ms of calls that alternate, after a warm-up. The best times are those that other processes disturb
// least.
std::vector<double> best_ms(int repeats, const std::vector<std::function<void()>>& calls) {
  std::vector<double> best(calls.size(), std::numeric_limits<double>::infinity());
  for (int i = 0; i < repeats + 3; ++i) {
    for (std::size_t k = 0; k < calls.size(); ++k) {
      const double start = monotonic_s();
      calls[k]();
      if (i >= 3) best[k] = std::min(best[k], 1e3 * (monotonic_s() - start));
    }
  }
  return best;
}

// The memory traffic of an update without its rule.
class Stream {
 public:
  Stream(std::size_t floats, std::size_t arrays, WireDtype dtype)
      : arrays_(arrays, std::vector<float>(floats, 1.0f)),
        gradient_(floats * bytes_per_number(dtype) / sizeof(float), 1.0f) {}

  void run(ThreadPool& pool) {
    pool.run([&](int part) {
      for (auto& array : arrays_) scale(array, part, pool.size());
      scale(gradient_, part, pool.size());
    });
  }

 private:
  static void scale(std::vector<float>& values, int part, int parts) {
    const Share share = share_of(static_cast<std::int64_t>(values.size()), part, parts, 16);
    float* const at = values.data();
    for (std::int64_t i = share.begin; i < share.end; ++i) at[i] *= 0.999f;
  }

  std::vector<std::vector<float>> arrays_;
  std::vector<float> gradient_;
};

// The time to check a gradient for numbers that must not be applied, as a ps does when a chunk arrives. The chunk was
// just written by a copy, as from a socket, so the part that fits is in the second-level cache. In ms for all chunks,
// the best of `repeats`.
double check_ms(const VariableStore& store, WireDtype dtype, int repeats) {
  std::vector<std::vector<std::byte>> sent;
  std::vector<Frame> chunks;
  for (std::size_t chunk = 0; chunk < store.chunks().size(); ++chunk) {
    const std::vector<float> gradient(store.values(0, chunk).size(), 1e-3f);
    sent.emplace_back(gradient.size() * bytes_per_number(dtype));
    write_numbers(gradient, dtype, sent.back());
    chunks.push_back(Frame::allocate(sent.back().size()));
  }
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats + 3; ++i) {
    double spent = 0;
    for (std::size_t chunk = 0; chunk < chunks.size(); ++chunk) {
      std::ranges::copy(sent[chunk], chunks[chunk].bytes().begin());
      const double start = monotonic_s();
      if (!may_be_applied({dtype, chunks[chunk].bytes()})) std::abort();
      spent += 1e3 * (monotonic_s() - start);
    }
    if (i >= 3) best = std::min(best, spent);
  }
  return best;
}

void measure(std::int64_t floats, int repeats, OptimizerKind kind, WireDtype dtype) {
  VariableStore store({{0, floats}}, default_optimizer(kind), 0);
  const std::size_t arrays = 1 + store.num_slots();
  std::vector<Frame> gradients;
  for (std::size_t slot = 0; slot < arrays; ++slot) {
    for (std::size_t chunk = 0; chunk < store.chunks().size(); ++chunk) {
      std::ranges::fill(store.values(slot, chunk), 0.5f);
      if (slot > 0) continue;
      const std::vector<float> gradient(store.values(0, chunk).size(), 1e-3f);
      gradients.push_back(Frame::allocate(gradient.size() * bytes_per_number(dtype)));
      write_numbers(gradient, dtype, gradients.back().bytes());
    }
  }
  Stream stream(static_cast<std::size_t>(floats), arrays, dtype);
  const double moved = static_cast<double>(floats) * static_cast<double>(8 * arrays + 2 * bytes_per_number(dtype));
  std::printf("%-9s %-5s %7.1f MB", std::string(to_string(kind)).c_str(), std::string(to_string(dtype)).c_str(),
              moved / 1e6);
  const double check = check_ms(store, dtype, repeats);
  for (const int threads : {1, 2}) {
    ThreadPool pool(threads);
    const auto apply = [&] {
      store.begin_update();
      for (std::size_t chunk = 0; chunk < gradients.size(); ++chunk) {
        const Numbers gradient{dtype, gradients[chunk].bytes()};
        store.apply(chunk, {&gradient, 1}, gradients[chunk].bytes(), &pool);
      }
    };
    const auto times = best_ms(repeats, {apply, [&] { stream.run(pool); }});
    std::printf("  | %8.3f ms %6.1f GB/s %6.1f GB/s %5.0f %%", times[0], moved / times[0] / 1e6, moved / times[1] / 1e6,
                100 * times[1] / times[0]);
    if (threads == 1) std::printf("  check %6.3f ms %4.1f %%", check, 100 * check / times[0]);
  }
  std::printf("\n");
}

void measure_all(std::int64_t floats, int repeats) {
  std::printf(
      "one update of %lld floats, best of %d        | 1 thread     moved    stream  share  check       of it  | 2 "
      "threads\n",
      static_cast<long long>(floats), repeats);
  for (const OptimizerKind kind : all_optimizers()) {
    for (const WireDtype dtype : {WireDtype::kF32, WireDtype::kBf16, WireDtype::kF16}) {
      measure(floats, repeats, kind, dtype);
    }
  }
}

}  // namespace
}  // namespace distmnist

int main(int argc, char** argv) {
  using namespace distmnist;
  const int repeats = argc > 2 ? std::max(1, std::atoi(argv[2])) : 50;
  if (argc > 1) return measure_all(std::max(1, std::atoi(argv[1])), repeats), 0;
  measure_all(kModelFloats, repeats);
  measure_all(kLargeFloats, std::max(1, repeats / 4));
}
