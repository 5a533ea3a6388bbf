// Behaviour that only the cpu backend has. backend_test.cc tests what it shares with the others.
#include "lib/backend/cpu/cpu_executor.h"

#include <omp.h>

#include <thread>

#include "lib/base/clock.h"
#include "models/models.h"
#include "tests/lib/backend/backend_cases.h"
#include "tests/support/catch.h"

using namespace distmnist;

TEST_CASE("the caller's number of OpenMP threads is not changed") {
  omp_set_num_threads(3);
  const Graph graph = mlp();
  const auto executor = make_executor("cpu", graph, {.max_batch_size = 2, .threads = 2}, make_parameters(graph, 1));
  const Samples samples = make_samples(graph, 2, 1);
  int inside = 0;
  executor->train_step(samples.batch(), [&](Range) { inside = omp_get_max_threads(); });
  predict(*executor, graph, samples);
  CHECK(inside == 2);
  CHECK(omp_get_max_threads() == 3);
}

TEST_CASE("an executor created on one thread can run on a different one") {
  const Graph graph = mnist_cnn();
  const CompileOptions options{.max_batch_size = 2, .threads = 2};
  const auto executor = make_executor("cpu", graph, options, make_parameters(graph, 1));
  const Samples samples = make_samples(graph, 2, 1);
  const TrainOutcome here = train(*executor, samples.batch());
  TrainOutcome there;
  std::thread([&] { there = train(*executor, samples.batch()); }).join();
  CHECK(there.gradients == here.gradients);
}

TEST_CASE("executors on several threads do not disturb each other") {
  const Graph graph = mnist_cnn();
  const std::vector<float> block = make_parameters(graph, 1);
  const Samples samples = make_samples(graph, 4, 1);
  const TrainOutcome alone = train(*make_executor("cpu", graph, {.max_batch_size = 4}, block), samples.batch());
  std::vector<TrainOutcome> outcomes(3);
  std::vector<std::thread> threads;
  for (TrainOutcome& outcome : outcomes) {
    threads.emplace_back([&] {
      const auto executor = make_executor("cpu", graph, {.max_batch_size = 4}, block);
      for (int step = 0; step < 5; ++step) outcome = train(*executor, samples.batch());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const TrainOutcome& outcome : outcomes) CHECK(outcome.gradients == alone.gradients);
}

TEST_CASE("the executor reports which code computes each layer") {
  const std::vector<std::string> own =
      cpu::CpuExecutor(mnist_cnn(), {.max_batch_size = 2}, {.instruction_set = InstructionSet::kPortable}).kernels();
  CHECK(own == std::vector<std::string>{"built-in direct convolution", "part of the convolution",
                                        "built-in Winograd convolution", "part of the convolution",
                                        "no work: same memory layout", "built-in matrix products",
                                        "built-in matrix products"});
  CpuOptions without;
  without.builtin_kernels = false;
  const std::vector<std::string> library = cpu::CpuExecutor(mnist_cnn(), {.max_batch_size = 2}, without).kernels();
  REQUIRE(library.size() == own.size());
  CHECK(library[0] == "oneDNN convolution");
  CHECK(library[1] == "oneDNN pooling");
  CHECK(library[5] == "oneDNN inner product");
}

TEST_CASE("times per layer are recorded after they were requested") {
  const Graph graph = mlp();
  cpu::CpuExecutor executor(graph, {.max_batch_size = 2});
  const Samples samples = make_samples(graph, 2, 1);
  executor.train_step(samples.batch(), {});
  ExecutorProbe& probe = *executor.probe();
  CHECK(probe.layer_times().empty());
  probe.start_layer_times(monotonic_s);
  executor.train_step(samples.batch(), {});
  REQUIRE(probe.layer_times().size() == graph.layers.size());
  for (const LayerTime& time : probe.layer_times()) {
    CHECK(time.forward_s > 0);
    CHECK(time.backward_s > 0);
  }
}
