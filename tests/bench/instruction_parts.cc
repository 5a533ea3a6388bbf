// The parts of the program whose instructions instructions.py counts, each with a fixed small amount of work:
//   instruction_parts             prints the names of the parts, one per line
//   instruction_parts NAME        runs one part; valgrind counts the instructions inside distmnist_counted()
//   instruction_parts --settings  prints what the counts depend on, as lines "name=value"
// ZeroMQ is not included, because it uses its own thread. oneDNN is not included either, because it selects its kernels
// by processor, except for a few reorders around the built-in kernels.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "lib/backend/backend.h"
#include "lib/backend/dropout_mask.h"
#include "lib/backend/softmax_loss.h"
#include "lib/graph/initializers.h"
#include "lib/math/crc32c.h"
#include "lib/math/instruction_set.h"
#include "lib/math/mean.h"
#include "lib/optim/optimizer.h"
#include "lib/ps/records/control.h"
#include "lib/ps/server/ps_core.h"
#include "lib/supervisor/checkpoint.h"
#include "lib/wire/numbers.h"
#include "models/models.h"
#include "tests/support/sample_snapshot.h"
#include "tests/support/temp_dir.h"
#include "tests/support/trace.h"

using Work = std::function<void()>;

// valgrind finds this function by its name, so it must not be inlined.
extern "C" [[gnu::noinline]] void distmnist_counted(const Work& work) {
  work();
}

namespace distmnist {
namespace {

constexpr std::int64_t kFloats = kMaxPayloadFloats;  // one chunk on the wire
constexpr std::int64_t kModelFloats = kFloats + 1000;

std::vector<float> ramp(std::int64_t count, float step) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = step * static_cast<float>(i % 1000);
  return values;
}

template <class T>
std::shared_ptr<T> shared(T value) {
  return std::make_shared<T>(std::move(value));
}

// ---- Vector loops ----

using Apply = decltype(&apply_update);

Work update(OptimizerKind kind, Apply apply) {
  const auto parameters = shared(ramp(kFloats, 1e-3f)), gradient = shared(ramp(kFloats, 1e-5f));
  const auto slots = shared(std::vector(slot_names(kind).size(), ramp(kFloats, 1e-4f)));
  return [=] {
    const std::vector<std::span<float>> slot_spans(slots->begin(), slots->end());
    apply(default_optimizer(kind), 7, {*parameters, slot_spans, *gradient, *gradient}, 1.0f);
  };
}

Work mean_of_three() {
  const auto gradients = shared(std::vector(3, ramp(kFloats, 1e-5f)));
  return [=] {
    add_f32((*gradients)[1], (*gradients)[0]);
    add_f32((*gradients)[2], (*gradients)[0]);
    divide((*gradients)[0], 3);
  };
}

Work look_at_gradient(WireDtype dtype) {
  const auto numbers = shared(Frame::allocate(static_cast<std::size_t>(kFloats) * bytes_per_number(dtype)));
  write_numbers(ramp(kFloats, 1e-5f), dtype, numbers->bytes());
  return [=] {
    if (!may_be_applied({dtype, numbers->bytes()})) std::abort();
  };
}

Work checksum(decltype(&crc32c) function) {
  const auto values = shared(ramp(kFloats, 1));
  return [=] {
    if (function(std::as_bytes(std::span(*values)), 0) == 0) std::abort();
  };
}

Work softmax_loss() {
  const auto logits = shared(ramp(50 * 10, 0.01f)), gradient = shared(ramp(50 * 10, 0));
  const auto labels = shared(std::vector<std::uint8_t>(50, 3));
  return [=] {
    for (int i = 0; i < 20; ++i) softmax_cross_entropy<float>(*logits, *labels, *gradient);
  };
}

// ---- Data ----

Work batches() {
  auto pixels = shared(std::vector<std::uint8_t>(1200 * 28 * 28));
  for (std::size_t i = 0; i < pixels->size(); ++i) (*pixels)[i] = static_cast<std::uint8_t>(i * 7);
  auto labels = shared(std::vector<std::uint8_t>(1200, 3));
  const ImageSet images = {1200, 28, 28, *pixels, *labels, {pixels, labels}};
  const auto source = std::shared_ptr(batch(repeat(shuffle(slices(images), 1, 2)), 50));
  return [=] {
    TrainBatch made;
    for (int i = 0; i < 30; ++i) source->next(made);  // into a second pass
  };
}

Work dropout() {
  const auto factors = shared(ramp(50 * 500, 0));
  const Dropout layer = {.scope = "dropout", .input = {500, 1, 1}, .output = {500, 1, 1}, .keep_prob = 0.5f};
  return [=] { fill_dropout_mask({}, layer, 100, *factors); };
}

Work start_values() {
  const auto graph = shared(mlp());
  const auto block = shared(ramp(graph->num_parameters, 0));
  return [=] { initialize(*graph, 1, *block); };
}

// ---- Training steps of mnist_cnn with the built-in kernels ----

constexpr std::int64_t kStepSamples = 4;  // few, because fused multiply-adds are very slow in valgrind

// An executor with one thread and its training data.
struct Training {
  explicit Training(InstructionSet set)
      : backend(make_backend("cpu", {}, {}, {.instruction_set = set})),
        graph(mnist_cnn()),
        executor(backend->compile(graph, {.max_batch_size = kStepSamples})),
        pixels(static_cast<std::size_t>(kStepSamples * graph.input.size())),
        images(pixels.size()),
        labels(kStepSamples, 3) {
    std::vector<float> parameters(static_cast<std::size_t>(graph.num_parameters));
    initialize(graph, 1, parameters);
    executor->load({0, graph.num_parameters}, parameters);
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      pixels[i] = static_cast<std::uint8_t>(i * 7);
      images[i] = static_cast<float>(pixels[i]) / 255;
    }
  }
  std::unique_ptr<Backend> backend;
  Graph graph;
  std::unique_ptr<Executor> executor;
  std::vector<std::uint8_t> pixels;
  std::vector<float> images;
  std::vector<std::uint8_t> labels;
};

Work train_step(InstructionSet set) {
  const auto training = std::make_shared<Training>(set);
  return [=] {
    training->executor->train_step({.size = kStepSamples, .images = training->images, .labels = training->labels}, {});
  };
}

// Includes the update by adam.
Work resident_step(InstructionSet set) {
  const auto training = std::make_shared<Training>(set);
  ResidentTraining& resident = *training->executor->resident_training();
  const std::vector<float> zeros(static_cast<std::size_t>(training->graph.num_parameters));
  const std::vector<std::span<const float>> slots = {zeros, zeros};
  if (!resident.keep_samples({kStepSamples, training->pixels, training->labels})) std::abort();
  resident.start(default_optimizer(OptimizerKind::kAdam), 0, slots);
  return [training] {
    constexpr std::int32_t kSamples[kStepSamples] = {3, 2, 1, 0};
    training->executor->resident_training()->run({.batch_size = kStepSamples, .samples = kSamples});
  };
}

// Without AVX2 the part uses the instructions that exist, and "vectors" in the settings shows it.
InstructionSet avx2_or_less() {
  return is_supported(InstructionSet::kAvx2) ? InstructionSet::kAvx2 : InstructionSet::kPortable;
}

// ---- The wire ----

Work headers() {
  return [] {
    Header header = trace::Peer{.worker = 2}.header(MessageType::kPush);
    header.dtype = WireDtype::kF32;
    header.range_size = kFloats;
    header.payload_bytes = kMaxPayloadBytes;
    for (int i = 0; i < 1000; ++i) {
      header.sequence = static_cast<std::uint64_t>(i);
      if (decode_header(encode_header(header), kMaxPayloadBytes).fault != HeaderFault::kNone) std::abort();
    }
  };
}

CreateRecord model_record(bool sync) {
  CreateRecord record;
  record.pieces = {{"fc/weights", {0, kFloats}}, {"fc/biases", {kFloats, kModelFloats - kFloats}}};
  record.strategy.sync = sync;
  record.strategy.replicas_to_aggregate = 2;
  return record;
}

Work records() {
  return [] {
    TokenRecord token;
    for (std::int64_t commit = 1; commit <= 3; ++commit) token.updates.push_back({commit, {{0, {1, 2}}, {1, {1, 2}}}});
    const HelloRecord hello = {"runs/1", true, 3, 1, 0, trace::kJob, kModelFloats};
    for (int i = 0; i < 20; ++i) {
      const bool read = decode<HelloRecord>(encode(hello).bytes()) && decode<TokenRecord>(encode(token).bytes()) &&
                        decode<CreateRecord>(encode(model_record(false)).bytes());
      if (!read) std::abort();
    }
  };
}

// ---- A whole ps, from received to sent messages ----

// A ps with one model and two workers, whose pushes cause updates by adam.
class Job {
 public:
  explicit Job(bool sync) : sync_(sync), core_({{0, 1, kNumWorkers, 500}}, actions_, 0) {
    workers_[0].chief = true;
    for (trace::Peer& worker : workers_) {
      worker.num_parameters = kModelFloats;
      say(worker, worker.hello(trace::kJob, kNumWorkers, 1, 0));
    }
    trace::Peer& chief = workers_[0];
    chief.run = 7;
    say(chief, chief.record(MessageType::kCreate, encode(model_record(sync))));
    for (std::uint8_t slot = 0; slot <= 2; ++slot) {
      for (const Range range : chunks_) say(chief, chief.load(range.offset, ramp(range.size, 1e-3f), slot));
    }
    say(chief, chief.plain(MessageType::kCreateEnd));
    for (trace::Peer& worker : workers_) {
      ++worker.sequence;
      say(worker, worker.plain(sync ? MessageType::kJoin : MessageType::kPull));
    }
  }

  // Prepares a push of each worker.
  void prepare() {
    for (trace::Peer& worker : workers_) {
      ++worker.sequence;
      for (const Range range : chunks_)
        prepared_.emplace_back(&worker, worker.push(range.offset, ramp(range.size, 1e-5f)));
      if (sync_) prepared_.emplace_back(&worker, worker.plain(MessageType::kCommit));
    }
  }
  // Lets the ps answer the prepared pushes; aborts unless each worker gets the new parameters.
  void exchange() {
    parameters_ = 0;
    for (auto& [worker, message] : prepared_) say(*worker, std::move(message));
    prepared_.clear();
    if (parameters_ != kNumWorkers * chunks_.size()) std::abort();
  }

 private:
  static constexpr std::uint32_t kNumWorkers = 2;

  void say(trace::Peer& from, Message message) {
    message.header.payload_bytes = static_cast<std::uint32_t>(message.payload.size());
    core_.on_message(Sender{from.route}, Received{std::move(message), HeaderFault::kNone}, 0);
    for (const trace::PsRecorder::Sent& sent : std::exchange(actions_.sent, {})) {
      const Header& header = sent.message.header;
      trace::Peer& to = workers_[header.worker];
      if (header.type == MessageType::kWelcome) to.learn(header);
      if (header.type != MessageType::kParameters) continue;
      to.step = header.step;
      ++parameters_;
    }
  }

  const bool sync_;
  const std::vector<Range> chunks_ = ranges_of(model_record(false).pieces);
  std::vector<trace::Peer> workers_ = {{.worker = 0, .route = "a", .samples = 50},
                                       {.worker = 1, .route = "b", .samples = 50}};
  trace::PsRecorder actions_;
  PsCore core_;
  std::vector<std::pair<trace::Peer*, Message>> prepared_;
  std::size_t parameters_ = 0;  // messages with parameters since exchange() began
};

Work exchange(bool sync) {
  const auto job = std::make_shared<Job>(sync);
  job->prepare();
  return [=] { job->exchange(); };
}

// ---- Checkpoints ----

ModelSnapshot snapshot() {
  ModelIdentity identity = sample_identity();
  identity.variables = {{.name = "fc/weights", .shape = {256, 1024}, .range = {0, kFloats}}};
  return sample_snapshot(100, identity);
}

Work checkpoint_write() {
  const auto folder = std::make_shared<TempDir>();
  const auto model = shared(snapshot());
  return [=] { write_checkpoint(*folder / "model", *model); };
}

Work checkpoint_read() {
  const auto folder = std::make_shared<TempDir>();
  write_checkpoint(*folder / "model", snapshot());
  return [=] { read_checkpoint(*folder / "model"); };
}

// Creates the data for each call of the work.
struct Part {
  const char* name;
  std::function<Work()> make;
};

const Part kParts[] = {
    {"update_sgd", [] { return update(OptimizerKind::kSgd, apply_update); }},
    {"update_momentum", [] { return update(OptimizerKind::kMomentum, apply_update); }},
    {"update_adam", [] { return update(OptimizerKind::kAdam, apply_update); }},
    {"update_adam_portable", [] { return update(OptimizerKind::kAdam, apply_update_portable); }},
    {"mean_of_three", mean_of_three},
    {"may_be_applied_f32", [] { return look_at_gradient(WireDtype::kF32); }},
    {"may_be_applied_bf16", [] { return look_at_gradient(WireDtype::kBf16); }},
    {"crc32c", [] { return checksum(crc32c); }},
    {"crc32c_portable", [] { return checksum(crc32c_portable); }},
    {"softmax_loss", softmax_loss},
    {"dropout_mask", dropout},
    {"start_values", start_values},
    {"batches", batches},
    {"step_portable", [] { return train_step(InstructionSet::kPortable); }},
    {"step_avx2", [] { return train_step(avx2_or_less()); }},
    {"step_adam_avx2", [] { return resident_step(avx2_or_less()); }},
    {"headers", headers},
    {"records", records},
    {"ps_async", [] { return exchange(false); }},
    {"ps_sync", [] { return exchange(true); }},
    {"checkpoint_write", checkpoint_write},
    {"checkpoint_read", checkpoint_read},
};

// Returns false if there is no such part. One-time work, such as building a table at its first use, is done in a call
// before the counted one.
bool run(std::string_view name) {
  for (const Part& part : kParts) {
    if (name != part.name) continue;
    part.make()();
    distmnist_counted(part.make());
    return true;
  }
  return false;
}

// The version in which the loops of lib/math/simd.h run. valgrind emulates a processor with different features.
const char* vectors() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") != 0) return "avx512";
  return __builtin_cpu_supports("avx2") != 0 ? "avx2" : "baseline";
#else
  return "baseline";
#endif
}

void print_settings() {
#if defined(__OPTIMIZE__)
  const char* const optimized = "yes";
#else
  const char* const optimized = "no";
#endif
  std::printf("compiler=%s\noptimized=%s\nvectors=%s\n", __VERSION__, optimized, vectors());
}

}  // namespace
}  // namespace distmnist

int main(int argc, char** argv) {
  using namespace distmnist;
  if (argc == 2 && std::string_view(argv[1]) == "--settings") {
    print_settings();
    return 0;
  }
  if (argc == 2) return run(argv[1]) ? 0 : 2;
  for (const Part& part : kParts) std::puts(part.name);
}
