// Time of one training step of mnist_cnn, in all and per layer, on the cpu backend.
//   layer_bench [batch_size [steps [threads]]]: without a number of threads, 1 and then 2
#include <algorithm>
#include <cstdlib>
#include <vector>

#include <fmt/format.h>

#include "lib/backend/cpu/cpu_executor.h"
#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/graph/initializers.h"
#include "models/models.h"

namespace distmnist {
namespace {

struct Input {
  std::vector<float> images;
  std::vector<std::uint8_t> labels;
};

Input make_input(const Graph& graph, std::int64_t batch_size) {
  Random random(1, 0);
  Input input{.images = std::vector<float>(static_cast<std::size_t>(batch_size * graph.input.size())),
              .labels = std::vector<std::uint8_t>(static_cast<std::size_t>(batch_size))};
  std::ranges::generate(input.images, [&] { return random.uniform(); });
  std::ranges::generate(input.labels, [&] { return static_cast<std::uint8_t>(random.below(10)); });
  return input;
}

// One training step as a worker makes it: all parameters are loaded anew, in pieces of a message's size.
void worker_step(cpu::CpuExecutor& executor, const std::vector<float>& parameters, const Batch& batch) {
  constexpr std::int64_t kPiece = 1 << 18;  // floats
  const auto total = static_cast<std::int64_t>(parameters.size());
  for (std::int64_t offset = 0; offset < total; offset += kPiece) {
    const Range piece{offset, std::min(kPiece, total - offset)};
    executor.load(piece, slice(std::span(parameters), piece));
  }
  executor.train_step(batch, {});
}

void print_times(const Graph& graph, const cpu::CpuExecutor& executor, int steps) {
  const auto per_step_ms = [&](double total_s) { return total_s * 1e3 / steps; };
  fmt::print("{:<18} {:>10} {:>10} {:>10}\n", "layer (mean ms)", "forward", "backward", "both");
  for (std::size_t i = 0; i < graph.layers.size(); ++i) {
    const cpu::LayerTime& time = executor.layer_times()[i];
    fmt::print("{:<18} {:>10.3f} {:>10.3f} {:>10.3f}\n", scope_of(graph.layers[i]), per_step_ms(time.forward_s),
               per_step_ms(time.backward_s), per_step_ms(time.forward_s + time.backward_s));
  }
}

void measure(const Graph& graph, std::int64_t batch_size, int threads, int steps) {
  const Input input = make_input(graph, batch_size);
  std::vector<float> parameters(static_cast<std::size_t>(graph.num_parameters));
  initialize(graph, 0, parameters);
  const double start_s = monotonic_s();
  cpu::CpuExecutor executor(graph, {.max_batch_size = batch_size, .threads = threads});
  const double compile_ms = (monotonic_s() - start_s) * 1e3;
  const Batch batch{.size = batch_size, .images = input.images, .labels = input.labels};
  for (int i = 0; i < 5; ++i) worker_step(executor, parameters, batch);

  executor.start_layer_times();
  std::vector<double> times_ms(static_cast<std::size_t>(steps));
  for (double& time_ms : times_ms) {
    const double before_s = monotonic_s();
    worker_step(executor, parameters, batch);
    time_ms = (monotonic_s() - before_s) * 1e3;
  }
  std::ranges::sort(times_ms);
  fmt::print("mnist_cnn, batch {}, threads {}: step {:.2f} ms (median; {:.2f} at best), compiled in {:.0f} ms\n",
             batch_size, threads, times_ms[times_ms.size() / 2], times_ms.front(), compile_ms);
  print_times(graph, executor, steps);
}

}  // namespace
}  // namespace distmnist

int main(int argc, char** argv) {
  const std::int64_t batch_size = argc > 1 ? std::atoll(argv[1]) : 50;
  const int steps = argc > 2 ? std::atoi(argv[2]) : 100;
  const std::vector<int> thread_counts = argc > 3 ? std::vector<int>{std::atoi(argv[3])} : std::vector<int>{1, 2};
  for (const int threads : thread_counts) {
    distmnist::measure(distmnist::make_model("mnist_cnn"), batch_size, threads, steps);
  }
}
