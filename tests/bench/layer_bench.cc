// Measures the time of one training step on the cpu backend, in total and by layer, with our kernels in each
// instruction set and with oneDNN alone, and compares it with the limits of the processor. Prints tables in Markdown;
// --help lists the options.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "lib/backend/cpu/cpu_executor.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/random.h"
#include "lib/graph/initializers.h"
#include "models/models.h"
#include "tests/bench/arguments.h"
#include "tests/bench/layer_work.h"
#include "tests/bench/machine_limits.h"
#include "tools/environment.h"

namespace distmnist {
namespace {

constexpr int kStepsPerTurn = 10;  // steps with one kind of kernels before the next kind

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

// One training step of a worker: it loads all parameters, in pieces of a message's size.
void worker_step(cpu::CpuExecutor& executor, const std::vector<float>& parameters, const Batch& batch) {
  constexpr std::int64_t kPiece = 1 << 18;  // floats
  const auto total = static_cast<std::int64_t>(parameters.size());
  for (std::int64_t offset = 0; offset < total; offset += kPiece) {
    const Range piece{offset, std::min(kPiece, total - offset)};
    executor.load(piece, slice(std::span(parameters), piece));
  }
  executor.train_step(batch, {});
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

// `kernels` is "onednn" or the name of an instruction set.
CpuOptions cpu_options(const std::string& kernels) {
  if (kernels == "onednn") return {.instruction_set = {}, .builtin_kernels = false};
  const InstructionSet set = parse_instruction_set(kernels);
  if (!is_supported(set)) fail(ExitCode::kUsage, "this processor has no {}", kernels);
  return {.instruction_set = set};
}

std::string all_kernels() {
  std::vector<std::string_view> names;
  for (const InstructionSet set : kInstructionSets) {
    if (is_supported(set)) names.push_back(to_string(set));
  }
  names.push_back("onednn");
  return fmt::format("{}", fmt::join(names, ","));
}

// One kind of kernels with the seconds of all its steps.
class Subject {
 public:
  Subject(const Graph& graph, const std::string& kernels, const CompileOptions& options)
      : kernels_(kernels),
        groups_(layer_groups(graph, kernels != "onednn" && kernels != "amx")),  // whether Winograd's algorithm is used
        batch_size_(options.max_batch_size),
        executor_(graph, options, cpu_options(kernels), kernels == "amx" ? &cpu::amx_kernels() : nullptr),
        // CPU time does not include other processes. With several threads only the wall time is meaningful.
        clock_s_(options.threads == 1 ? thread_cpu_s : monotonic_s),
        forward_s_(groups_.size()),
        backward_s_(groups_.size()) {}

  const std::string& kernels() const { return kernels_; }
  const std::vector<LayerGroup>& groups() const { return groups_; }
  std::int64_t batch_size() const { return batch_size_; }
  InstructionSet instruction_set() const {
    return cpu_options(kernels_).instruction_set.value_or(best_instruction_set());
  }

  void warm_up(const std::vector<float>& parameters, const Batch& batch) {
    for (int i = 0; i < 3; ++i) worker_step(executor_, parameters, batch);
  }
  void make_steps(const std::vector<float>& parameters, const Batch& batch) {
    for (int i = 0; i < kStepsPerTurn; ++i) {
      executor_.probe()->start_layer_times(clock_s_);
      const double before_s = clock_s_();
      worker_step(executor_, parameters, batch);
      step_s_.push_back(clock_s_() - before_s);
      for (std::size_t group = 0; group < groups_.size(); ++group) add_times(group);
    }
  }

  double step_s() const { return median(step_s_); }
  double forward_s(std::size_t group) const { return median(forward_s_[group]); }
  double backward_s(std::size_t group) const { return median(backward_s_[group]); }
  double layer_s(std::size_t group) const { return forward_s(group) + backward_s(group); }

 private:
  void add_times(std::size_t group) {
    double forward_s = 0, backward_s = 0;
    for (std::size_t layer = groups_[group].begin; layer < groups_[group].end; ++layer) {
      forward_s += executor_.probe()->layer_times()[layer].forward_s;
      backward_s += executor_.probe()->layer_times()[layer].backward_s;
    }
    forward_s_[group].push_back(forward_s);
    backward_s_[group].push_back(backward_s);
  }

  std::string kernels_;
  std::vector<LayerGroup> groups_;
  std::int64_t batch_size_;
  cpu::CpuExecutor executor_;
  double (*clock_s_)();
  std::vector<double> step_s_;
  std::vector<std::vector<double>> forward_s_, backward_s_;  // per group
};

using Subjects = std::vector<std::unique_ptr<Subject>>;

// The limits in a table.
struct Limits {
  std::map<InstructionSet, double> flops_per_s;
  double memory_bytes_per_s = 0;
};

void print_row(const std::string& layer, const Subject& subject, const Work& work, double step_bytes,
               const std::string& times, double both_s, double onednn_s, const Limits& limits) {
  const auto samples = static_cast<double>(subject.batch_size());
  const double peak = limits.flops_per_s.at(subject.instruction_set());
  const double bytes_per_s = (samples * work.sample_bytes + step_bytes) / both_s;
  fmt::print("| {} | {} | {} | {:.3f} | {} | {:.1f} | {:.0f} % | {:.1f} | {:.0f} % |\n", layer, subject.kernels(),
             times, both_s * 1e3, onednn_s > 0 ? fmt::format("{:.2f}", onednn_s / both_s) : "-",
             samples * work.direct_flops / both_s * 1e-9, 100 * samples * work.executed_flops / both_s / peak,
             bytes_per_s * 1e-9, 100 * bytes_per_s / limits.memory_bytes_per_s);
}

void print_table(const Subjects& subjects, const Limits& limits) {
  const auto onednn = std::ranges::find(subjects, "onednn", [](const auto& each) { return each->kernels(); });
  fmt::print(
      "| layer | kernels | forward, ms | backward, ms | both, ms | oneDNN / it | GFLOP/s, direct | "
      "executed, of the peak | least traffic, GB/s | of memory |\n|{}\n",
      std::string("---|---|---|---|---|---|---|---|---|---|"));
  for (std::size_t group = 0; group < subjects[0]->groups().size(); ++group) {
    for (const auto& subject : subjects) {
      const LayerGroup& layer = subject->groups()[group];
      const std::string times =
          fmt::format("{:.3f} | {:.3f}", subject->forward_s(group) * 1e3, subject->backward_s(group) * 1e3);
      print_row(layer.name, *subject, layer.work, layer.step_bytes, times, subject->layer_s(group),
                onednn == subjects.end() ? 0 : (*onednn)->layer_s(group), limits);
    }
  }
  for (const auto& subject : subjects) {
    Work work;
    double step_bytes = 0;
    for (const LayerGroup& group : subject->groups()) {
      work.direct_flops += group.work.direct_flops;
      work.executed_flops += group.work.executed_flops;
      work.sample_bytes += group.work.sample_bytes;
      step_bytes += group.step_bytes;
    }
    print_row("step with load", *subject, work, step_bytes, "- | -", subject->step_s(),
              onednn == subjects.end() ? 0 : (*onednn)->step_s(), limits);
  }
}

// Measures and prints the limits for this number of threads.
Limits measure_limits(int threads) {
  Limits limits;
  std::vector<std::string> peaks;
  for (const InstructionSet set : kInstructionSets) {
    if (!is_supported(set)) continue;
    limits.flops_per_s[set] = peak_flops_per_s(set, threads);
    peaks.push_back(fmt::format("{} {:.1f}", to_string(set), limits.flops_per_s[set] * 1e-9));
  }
  limits.memory_bytes_per_s = read_bytes_per_s(256 << 20, threads);
  fmt::print(
      "Threads: {}. Peak of multiply-adds, GFLOP/s: {}. Reads, GB/s: {:.1f} from memory (256 MiB), {:.1f} of 6 "
      "MiB again and again.\n\n",
      threads, fmt::join(peaks, ", "), limits.memory_bytes_per_s * 1e-9, read_bytes_per_s(6 << 20, threads) * 1e-9);
  return limits;
}

void measure(const Arguments& arguments, const std::string& precision, int threads, const Limits& limits) {
  const Graph graph = make_model(arguments.text("model"));
  const std::int64_t batch_size = arguments.number("batch_size");
  const Input input = make_input(graph, batch_size);
  const Batch batch{.size = batch_size, .images = input.images, .labels = input.labels};
  std::vector<float> parameters(static_cast<std::size_t>(graph.num_parameters));
  initialize(graph, 0, parameters);
  Subjects subjects;
  for (const std::string& kernels : arguments.list("kernels")) {
    const CompileOptions options{
        .max_batch_size = batch_size, .precision = parse_precision(precision), .threads = threads};
    subjects.push_back(std::make_unique<Subject>(graph, kernels, options));
    subjects.back()->warm_up(parameters, batch);
  }
  const int turns = std::max(1, arguments.number("steps") / kStepsPerTurn);
  for (int turn = 0; turn < turns; ++turn) {
    for (const auto& subject : subjects) subject->make_steps(parameters, batch);
  }
  fmt::print("{}, batch {}, {}, threads {}: medians of {} steps, in {}.\n\n", arguments.text("model"), batch_size,
             precision, threads, turns * kStepsPerTurn, threads == 1 ? "CPU time" : "wall time");
  print_table(subjects, limits);
  fmt::print("\n");
}

const char* const kAbout = R"(layer_bench [--NAME=VALUE]...  Time of a training step by layer.

GFLOP/s are of the direct algorithm. Of the peak count the products that are executed, without the transformations of
Winograd's algorithm; AMX's tiles may be above 100 %, for their peak is taken to be that of float32 in AVX-512. The
least traffic is each activation, parameter and gradient once; what stays in a cache may be faster than memory.
)";

int run(int argc, char** argv) {
  const Arguments arguments(argc, argv, kAbout,
                            {{"model", "mnist_cnn", "its name"},
                             {"batch_size", "50", "samples"},
                             {"steps", "100", "of each kind of kernels"},
                             {"threads", "1,2", "numbers of them"},
                             {"kernels", all_kernels(), "instruction sets of the built-in kernels, and onednn alone"},
                             {"precisions", "f32", "f32, bf16"}});
  try {
    for (const std::string& threads : arguments.list("threads")) {
      const int number = std::max(1, std::atoi(threads.c_str()));
      const Limits limits = measure_limits(number);
      for (const std::string& precision : arguments.list("precisions")) measure(arguments, precision, number, limits);
    }
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "layer_bench: {}\n", error.what());
    return static_cast<int>(error.code());
  }
}

}  // namespace
}  // namespace distmnist

int main(int argc, char** argv) {
  distmnist::limit_spinning(argv);  // as the program does
  return distmnist::run(argc, argv);
}
