// Measures the time of a training step, of a worker's step and of loading all parameters, on any backend. It answers
// requests, so that a script can alternate between it and a peer on one card.
//   step_bench DEVICE [MODULE_FOLDER [MODEL]]
// DEVICE is gpu, cpu or reference, MODULE_FOLDER contains libdistmnist_cuda.so, and MODEL is mnist_cnn by default. Each
// line of standard input is a request, and a line of JSON is the answer:
//   resident BATCH PRECISION    microseconds per step that stays on the device
//   train_step BATCH PRECISION  microseconds of Executor::train_step with gradients on the host: a worker's computation
//   load BATCH PRECISION        microseconds of Executor::load for all parameters at once
// Settings can follow as NAME=VALUE:
//   threads=N                   threads of the executor's kernels (default: 1)
//   kernels=SET                 for the cpu: our kernels in this instruction set (portable, avx2, ...), or onednn
// alone;
//                               default: our kernels in the best instruction set of the processor
//   hidden=N                    instead of MODEL one hidden layer with N units: 795 N + 10 parameters
// A number is the mean of one repetition of at least 0.2 s; the caller can repeat requests to compute a median. Code
// compiled for one request is used again for the next one with the same batch and precision.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "lib/backend/backend.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/random.h"
#include "lib/graph/initializers.h"
#include "lib/graph/slim.h"
#include "models/models.h"
#include "tools/environment.h"

namespace distmnist {
namespace {

constexpr double kRepetitionS = 0.2;
constexpr std::int64_t kSamples = 60000;    // as many as MNIST has
constexpr std::int64_t kLongestRun = 4000;  // steps; limits what the host prepares for one run()

struct Request {
  std::string mode;
  std::int64_t batch_size = 0;
  std::string precision;
  int threads = 1;
  std::string kernels;      // "": those of the best instruction set
  std::int64_t hidden = 0;  // 0: the model that the program was started with

  // The settings that an executor is compiled for.
  auto key() const { return std::tuple(batch_size, precision, threads, kernels, hidden); }
};

// Random data in MNIST's shape. The values do not affect the speed of any kernel.
struct Samples {
  explicit Samples(const Graph& graph)
      : pixels(static_cast<std::size_t>(kSamples * graph.input.size())), labels(kSamples) {
    Random random(1, 0);
    std::ranges::generate(pixels, [&] { return static_cast<std::uint8_t>(random.below(256)); });
    std::ranges::generate(labels, [&] { return static_cast<std::uint8_t>(random.below(10)); });
  }
  std::vector<std::uint8_t> pixels, labels;
};

// Makes this many calls and waits for their end.
using Run = std::function<void(std::int64_t calls)>;

// The number of calls, from 1 to kLongestRun, that take about kRepetitionS. They also warm up everything that the first
// calls create.
std::int64_t calls_of_repetition(const Run& run) {
  run(1);
  std::int64_t calls = 1;
  while (calls < kLongestRun) {
    const double before_s = monotonic_s();
    run(calls);
    const double taken_s = monotonic_s() - before_s;
    if (taken_s >= kRepetitionS) break;
    const double factor = std::min(8.0, 1.1 * kRepetitionS / taken_s);  // the first calls can be slow
    calls = std::min(kLongestRun, static_cast<std::int64_t>(std::ceil(factor * static_cast<double>(calls))));
  }
  return calls;
}

// Microseconds per call in one repetition.
double repetition_us(const Run& run, std::int64_t calls) {
  const double before_s = monotonic_s();
  std::int64_t made = 0;
  do {
    run(calls);
    made += calls;
  } while (monotonic_s() - before_s < kRepetitionS);
  return (monotonic_s() - before_s) * 1e6 / static_cast<double>(made);
}

// One executor and the data for its measurements.
class Subject {
 public:
  Subject(const Backend& backend, const Graph& graph, const Samples& samples, const Request& request)
      : samples_(samples),
        batch_size_(request.batch_size),
        executor_(backend.compile(graph, {.max_batch_size = request.batch_size,
                                          .precision = parse_precision(request.precision),
                                          .threads = request.threads})),
        parameters_(static_cast<std::size_t>(graph.num_parameters)),
        input_size_(graph.input.size()) {
    initialize(graph, 0, parameters_);
    load();
  }

  // Kernels and copies of a resident step; 0 if none has been measured or the backend does not report them.
  std::int64_t launches() const {
    ExecutorProbe* const probe = measurements_.contains("resident") ? executor_->probe() : nullptr;
    return probe == nullptr ? 0 : probe->launches_per_step();
  }

  double measure_us(const std::string& mode) {
    Measurement& measurement = measurements_[mode];
    if (measurement.calls == 0) {
      measurement.run = run_of(mode);
      measurement.calls = calls_of_repetition(measurement.run);
    }
    return repetition_us(measurement.run, measurement.calls);
  }

 private:
  struct Measurement {
    Run run;
    std::int64_t calls = 0;
  };

  void load() { executor_->load({0, static_cast<std::int64_t>(parameters_.size())}, parameters_); }

  Run run_of(const std::string& mode) {
    if (mode == "resident") return resident();
    if (mode == "train_step") return train_step();
    if (mode == "load") {
      return [this](std::int64_t calls) {
        for (std::int64_t i = 0; i < calls; ++i) load();
      };
    }
    fail(ExitCode::kUsage, "'{}' is not resident, train_step or load", mode);
  }

  Run resident() {
    ResidentTraining* training = executor_->resident_training();
    if (training == nullptr) fail(ExitCode::kUsage, "this backend has no training that stays on the device");
    start(*training);
    return [this, training](std::int64_t steps) {
      const std::size_t size = static_cast<std::size_t>(steps * batch_size_);
      training->run({.batch_size = batch_size_, .samples = std::span(order_).first(size)});
      training->last_step();
    };
  }

  void start(ResidentTraining& training) {
    if (!training.keep_samples({.count = kSamples, .pixels = samples_.pixels, .labels = samples_.labels})) {
      fail(ExitCode::kResources, "the samples do not fit on the device");
    }
    const std::vector<float> zeros(parameters_.size());
    const std::vector<std::span<const float>> slots = {zeros, zeros};  // m and v
    training.start(default_optimizer(OptimizerKind::kAdam), 0, slots);
    Random random(2, 0);
    order_.resize(static_cast<std::size_t>(kLongestRun * batch_size_));
    std::ranges::generate(order_, [&] { return static_cast<std::int32_t>(random.below(kSamples)); });
  }

  Run train_step() {
    images_.resize(static_cast<std::size_t>(batch_size_ * input_size_));
    std::transform(samples_.pixels.begin(), samples_.pixels.begin() + batch_size_ * input_size_, images_.begin(),
                   [](std::uint8_t pixel) { return static_cast<float>(pixel) / 255; });
    return [this](std::int64_t calls) {
      const auto labels = std::span(samples_.labels).first(static_cast<std::size_t>(batch_size_));
      const Batch batch{.size = batch_size_, .images = images_, .labels = labels};
      for (std::int64_t i = 0; i < calls; ++i) executor_->train_step(batch, {});
    };
  }

  const Samples& samples_;
  std::int64_t batch_size_;
  std::unique_ptr<Executor> executor_;
  std::vector<float> parameters_;
  std::int64_t input_size_;
  std::vector<std::int32_t> order_;  // the order of the resident samples
  std::vector<float> images_;        // [batch_size, input_size]
  std::map<std::string, Measurement> measurements_;
};

// Throws an Error (kUsage) unless the text is a whole number from 1 to `most`.
std::int64_t parse_number(const std::string& text, std::int64_t most) {
  std::int64_t number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (fault != std::errc() || end != text.data() + text.size() || number < 1 || number > most) {
    fail(ExitCode::kUsage, "'{}' is not a number from 1 to {}", text, most);
  }
  return number;
}

void parse_setting(const std::string& setting, Request& request) {
  const std::size_t equals = std::min(setting.find('='), setting.size());
  const std::string name = setting.substr(0, equals), value = setting.substr(std::min(equals + 1, setting.size()));
  if (name == "threads") {
    request.threads = static_cast<int>(parse_number(value, 1024));
  } else if (name == "kernels") {
    request.kernels = value;
  } else if (name == "hidden") {
    request.hidden = parse_number(value, 1 << 20);
  } else {
    fail(ExitCode::kUsage, "'{}' is not a setting: threads, kernels or hidden", setting);
  }
}

Request parse(const std::string& line) {
  std::istringstream words(line);
  Request request;
  words >> request.mode >> request.batch_size >> request.precision;
  if (!words || request.batch_size < 1 || request.batch_size > kSamples) {
    fail(ExitCode::kUsage, "'{}' is not 'MODE BATCH PRECISION' with a batch of 1 to {}", line, kSamples);
  }
  for (std::string setting; words >> setting;) parse_setting(setting, request);
  return request;
}

std::string json_text(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return quoted + '"';
}

CpuOptions cpu_options(const std::string& kernels) {
  if (kernels.empty()) return {};
  if (kernels == "onednn") return {.instruction_set = {}, .builtin_kernels = false};
  return {.instruction_set = parse_instruction_set(kernels)};
}

Graph one_hidden_layer(std::int64_t units) {
  auto net = slim::Net(784);
  net.fully_connected(units, "hidden");
  net.fully_connected(10, "pred", Activation::kNone);
  return net.build();
}

class Bench {
 public:
  Bench(const std::string& device, const std::string& module_folder, const std::string& model)
      : device_(device), module_folder_(module_folder), graph_(make_model(model)), samples_(graph_) {
    backend("");  // reports a missing device at once
  }

  // Always returns a line of JSON.
  std::string answer(const std::string& line) {
    try {
      const Request request = parse(line);
      const double us = subject(request).measure_us(request.mode);
      return fmt::format(R"({{"backend": {}, "mode": {}, "batch": {}, "precision": {}, "us": {:.3f}, "launches": {}}})",
                         json_text(backend(request.kernels).name()), json_text(request.mode), request.batch_size,
                         json_text(request.precision), us, subject(request).launches());
    } catch (const Error& error) {
      return fmt::format(R"({{"error": {}}})", json_text(error.what()));
    }
  }

 private:
  Subject& subject(const Request& request) {
    auto& kept = subjects_[request.key()];
    if (!kept) {
      const Graph& graph = request.hidden == 0 ? graph_ : one_hidden_layer(request.hidden);
      kept = std::make_unique<Subject>(backend(request.kernels), graph, samples_, request);
    }
    return *kept;
  }
  const Backend& backend(const std::string& kernels) {
    auto& kept = backends_[kernels];
    if (!kept) kept = make_backend(device_, module_folder_, {}, cpu_options(kernels));
    return *kept;
  }

  std::string device_, module_folder_;
  std::map<std::string, std::unique_ptr<Backend>> backends_;  // by the requested kernels
  Graph graph_;
  Samples samples_;
  std::map<decltype(Request().key()), std::unique_ptr<Subject>> subjects_;
};

int answer_requests(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    fmt::print(stderr, "usage: step_bench DEVICE [MODULE_FOLDER [MODEL]]\n");
    return static_cast<int>(ExitCode::kUsage);
  }
  try {
    Bench bench(argv[1], argc > 2 ? argv[2] : "", argc > 3 ? argv[3] : "mnist_cnn");
    for (std::string line; std::getline(std::cin, line);) std::cout << bench.answer(line) << std::endl;
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "step_bench: {}\n", error.what());
    return static_cast<int>(error.code());
  }
}

}  // namespace
}  // namespace distmnist

int main(int argc, char** argv) {
  distmnist::limit_spinning(argv);  // as the program does
  return distmnist::answer_requests(argc, argv);
}
