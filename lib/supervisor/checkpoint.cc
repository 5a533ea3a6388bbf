#include "lib/supervisor/checkpoint.h"

#include <cassert>
#include <charconv>
#include <optional>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lib/base/error.h"
#include "lib/math/magnitudes.h"
#include "lib/ps/records/control.h"
#include "lib/supervisor/safetensors.h"

namespace distmnist {
namespace {

constexpr int kFormatVersion = 2;
// No run has ever counted this far. Training adds to a saved count, and no ps counts beyond kMaxCount.
constexpr std::int64_t kMaxSavedCount = kMaxCount / 2;
constexpr std::string_view kSlotPrefix = "optimizer/";

std::string slot_tensor_name(std::string_view slot, std::string_view variable) {
  return fmt::format("{}{}/{}", kSlotPrefix, slot, variable);
}

// "0:1250 1:1249": worker and samples.
std::string samples_text(const ConsumedSamples& consumed_samples) {
  std::string text;
  for (const auto& [worker, samples] : consumed_samples) {
    text += fmt::format("{}{}:{}", text.empty() ? "" : " ", worker, samples);
  }
  return text;
}

void add_data(const DataIdentity& data, const std::string& source, std::map<std::string, std::string>& metadata) {
  metadata["data_source"] = source;
  metadata["data_train_images"] = fmt::to_string(data.train_count);
  metadata["data_test_images"] = fmt::to_string(data.test_count);
  metadata["data_height"] = fmt::to_string(data.height);
  metadata["data_width"] = fmt::to_string(data.width);
  metadata["data_classes"] = fmt::to_string(data.num_classes);
  metadata["data_labels_crc32c"] = fmt::format("{:08x}", data.labels_crc32c);
  metadata["data_sampled_rows_crc32c"] = fmt::format("{:08x}", data.sampled_rows_crc32c);
}

std::map<std::string, std::string> metadata_of(const ModelSnapshot& snapshot) {
  const OptimizerSpec& optimizer = snapshot.identity.optimizer;
  const LearningRate& rate = optimizer.learning_rate;
  std::map<std::string, std::string> metadata = {
      {"distmnist_checkpoint", fmt::to_string(kFormatVersion)},
      {"tool_version", snapshot.tool_version},
      {"global_step", fmt::to_string(snapshot.global_step)},
      {"run_id", fmt::format("{:016x}", snapshot.run_id)},
      {"seed", fmt::to_string(snapshot.seed)},
      {"consumed_samples", samples_text(snapshot.consumed_samples)},
      {"done_workers", fmt::to_string(fmt::join(snapshot.done, " "))},
      {"model", snapshot.identity.model},
      {"graph", snapshot.identity.graph},
      {"optimizer", std::string(to_string(optimizer.kind))},
      // The shortest digits that give the same float back.
      {"learning_rate", fmt::to_string(rate.base)},
      {"learning_rate_schedule", std::string(to_string(rate.schedule))},
      {"learning_rate_warmup_steps", fmt::to_string(rate.warmup_steps)},
      {"decay_steps", fmt::to_string(rate.decay_steps)},
      {"decay_rate", fmt::to_string(rate.decay_rate)},
      {"momentum", fmt::to_string(optimizer.momentum)},
      {"nesterov", optimizer.nesterov ? "1" : "0"},
      {"beta1", fmt::to_string(optimizer.beta1)},
      {"beta2", fmt::to_string(optimizer.beta2)},
      {"decay", fmt::to_string(optimizer.decay)},
      {"epsilon", fmt::to_string(optimizer.epsilon)},
      {"config", snapshot.config},
  };
  if (snapshot.data) add_data(*snapshot.data, snapshot.data_source, metadata);
  return metadata;
}

// Metadata of a verified file, with every value checked: the checksums protect against damage, not against other
// writers.
class MetadataReader {
 public:
  explicit MetadataReader(const SafetensorsReader& file) : file_(file) {}

  const std::string& text(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end()) {
      fail(ExitCode::kData, "{}: not a distmnist checkpoint: its metadata has no {}", file_.path().string(), key);
    }
    return found->second;
  }
  template <typename T, typename... Base>
  T number(const std::string& key, Base... base) const {
    const auto value = parse<T>(text(key), base...);
    if (!value) refuse(key);
    return *value;
  }
  std::int64_t count(const std::string& key) const {
    const auto value = number<std::int64_t>(key);
    if (!is_count(value)) refuse(key);
    return value;
  }
  // A name that `parse` takes; its own sentence about another one would speak of a flag.
  template <typename Parse>
  auto known(const std::string& key, const Parse& parse) const {
    try {
      return parse(text(key));
    } catch (const Error& error) {
      if (error.code() != ExitCode::kUsage) throw;
      fail(ExitCode::kVersion, "{}: saved with the {} \"{}\", which this version does not know", file_.path().string(),
           key, printable(text(key)));
    }
  }
  ConsumedSamples samples(const std::string& key) const {
    ConsumedSamples result;
    std::string_view rest = text(key);
    while (!rest.empty()) {
      const std::string_view item = rest.substr(0, rest.find(' '));
      rest.remove_prefix(std::min(rest.size(), item.size() + 1));
      const auto colon = item.find(':');
      if (colon == item.npos) refuse(key);
      const auto worker = parse<std::uint32_t>(item.substr(0, colon));
      const auto samples = parse<std::int64_t>(item.substr(colon + 1));
      if (!worker || !samples || !is_count(*samples) || !result.emplace(*worker, *samples).second) refuse(key);
    }
    return result;
  }
  // None in files from before it was saved.
  std::set<std::uint32_t> workers(const std::string& key) const {
    std::set<std::uint32_t> result;
    std::string_view rest = has(key) ? std::string_view(text(key)) : std::string_view();
    while (!rest.empty()) {
      const std::string_view item = rest.substr(0, rest.find(' '));
      rest.remove_prefix(std::min(rest.size(), item.size() + 1));
      const auto worker = parse<std::uint32_t>(item);
      if (!worker || !result.insert(*worker).second) refuse(key);
    }
    return result;
  }
  OptimizerSpec optimizer() const {
    OptimizerSpec spec = default_optimizer(known("optimizer", parse_optimizer));
    spec.learning_rate = learning_rate();
    spec.momentum = number<float>("momentum");
    spec.beta1 = number<float>("beta1");
    spec.beta2 = number<float>("beta2");
    spec.epsilon = number<float>("epsilon");
    if (has("decay")) spec.decay = number<float>("decay");
    if (has("nesterov")) spec.nesterov = number<int>("nesterov") != 0;
    return spec;
  }

  // Nothing in files from before it was saved.
  std::optional<DataIdentity> data() const {
    if (!has("data_source")) return std::nullopt;
    return DataIdentity{.train_count = count("data_train_images"),
                        .test_count = count("data_test_images"),
                        .height = count("data_height"),
                        .width = count("data_width"),
                        .num_classes = number<int>("data_classes"),
                        .labels_crc32c = number<std::uint32_t>("data_labels_crc32c", 16),
                        .sampled_rows_crc32c = number<std::uint32_t>("data_sampled_rows_crc32c", 16)};
  }

 private:
  // Files from before there were schedules have the rate alone.
  LearningRate learning_rate() const {
    LearningRate rate = number<float>("learning_rate");
    if (!has("learning_rate_schedule")) return rate;
    rate.schedule = known("learning_rate_schedule", parse_learning_rate_schedule);
    rate.warmup_steps = count("learning_rate_warmup_steps");
    rate.decay_steps = count("decay_steps");
    rate.decay_rate = number<float>("decay_rate");
    return rate;
  }
  static bool is_count(std::int64_t value) { return value >= 0 && value <= kMaxSavedCount; }
  bool has(const std::string& key) const { return file_.metadata().contains(key); }
  // The whole text as a number, or nothing.
  template <typename T, typename... Base>
  static std::optional<T> parse(std::string_view text, Base... base) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base...);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
  }
  [[noreturn]] void refuse(const std::string& key) const {
    fail(ExitCode::kData, "{}: the metadata {} is \"{}\", which is out of range or not a number", file_.path().string(),
         key, printable(text(key)));
  }

  const SafetensorsReader& file_;
};

void require_known_format(const SafetensorsReader& file, const MetadataReader& metadata) {
  const int version = metadata.number<int>("distmnist_checkpoint");
  if (version != kFormatVersion) {
    fail(ExitCode::kVersion, "{}: a checkpoint of format {} from distmnist {}, but this version reads format {}",
         file.path().string(), version, printable(metadata.text("tool_version")), kFormatVersion);
  }
}

// The tensors that are no slots, in the file's order, which is the order of the block.
std::vector<Variable> variables_of(const SafetensorsReader& file) {
  std::vector<Variable> variables;
  std::int64_t offset = 0;
  for (const TensorInfo& tensor : file.tensors()) {
    if (tensor.dtype != "F32") {
      fail(ExitCode::kData, "{}: tensor \"{}\" is {}, but a checkpoint holds only F32", file.path().string(),
           printable(tensor.name), tensor.dtype);
    }
    if (tensor.name.starts_with(kSlotPrefix)) continue;
    const auto size = static_cast<std::int64_t>(tensor.size_bytes() / sizeof(float));
    variables.push_back({.name = tensor.name, .shape = tensor.shape, .range = {offset, size}});
    offset += size;
  }
  return variables;
}

std::vector<float> read_slot(const SafetensorsReader& file, std::string_view slot,
                             const std::vector<Variable>& variables, std::size_t size) {
  std::vector<float> block(size);
  for (const Variable& variable : variables) {
    const std::string name = slot_tensor_name(slot, variable.name);
    const TensorInfo* tensor = file.find(name);
    if (tensor == nullptr || tensor->shape != variable.shape) {
      fail(ExitCode::kData, "{}: no tensor \"{}\" of shape {}", file.path().string(), printable(name),
           shape_text(variable.shape));
    }
    file.read(*tensor, slice(std::span(block), variable.range));
  }
  return block;
}

std::string variable_text(const std::vector<Variable>& variables, std::size_t index) {
  if (index >= variables.size()) return "nothing";
  return fmt::format("{} {}", printable(variables[index].name), shape_text(variables[index].shape));
}

}  // namespace

void write_checkpoint(const std::filesystem::path& path, const ModelSnapshot& snapshot) {
  const auto& variables = snapshot.identity.variables;
  const auto slots = slot_names(snapshot.identity.optimizer.kind);
  assert(snapshot.slots.size() == slots.size());
  std::vector<NamedTensor> tensors;
  for (const Variable& variable : variables) {
    assert(!variable.name.starts_with(kSlotPrefix));
    tensors.push_back({variable.name, variable.shape, slice(std::span(snapshot.parameters), variable.range)});
  }
  for (std::size_t i = 0; i < slots.size(); ++i) {
    assert(snapshot.slots[i].size() == snapshot.parameters.size());
    for (const Variable& variable : variables) {
      tensors.push_back({slot_tensor_name(slots[i], variable.name), variable.shape,
                         slice(std::span(snapshot.slots[i]), variable.range)});
    }
  }
  write_safetensors(path, metadata_of(snapshot), tensors);
}

std::string not_finite_tensor(const ModelSnapshot& snapshot) {
  const auto slots = slot_names(snapshot.identity.optimizer.kind);
  for (std::size_t slot = 0; slot <= snapshot.slots.size(); ++slot) {
    const std::span<const float> block = slot == 0 ? snapshot.parameters : snapshot.slots[slot - 1];
    for (const Variable& variable : snapshot.identity.variables) {
      if (all_finite(slice(block, variable.range))) continue;
      return slot == 0 ? variable.name : slot_tensor_name(slots[slot - 1], variable.name);
    }
  }
  return {};
}

ModelSnapshot read_checkpoint(const std::filesystem::path& path) {
  const SafetensorsReader file(path);
  if (!file.metadata().contains("distmnist_checkpoint")) {
    fail(ExitCode::kData,
         "{}: a safetensors file from another program, not a distmnist checkpoint: its metadata has no "
         "distmnist_checkpoint, global_step and checksums",
         path.string());
  }
  file.verify_checksums();
  const MetadataReader metadata(file);
  require_known_format(file, metadata);

  ModelSnapshot snapshot;
  snapshot.identity = {.model = metadata.text("model"),
                       .graph = metadata.text("graph"),
                       .variables = variables_of(file),
                       .optimizer = metadata.optimizer()};
  snapshot.global_step = metadata.count("global_step");
  snapshot.run_id = metadata.number<std::uint64_t>("run_id", 16);
  snapshot.seed = metadata.number<std::uint64_t>("seed");
  snapshot.consumed_samples = metadata.samples("consumed_samples");
  snapshot.done = metadata.workers("done_workers");
  snapshot.data = metadata.data();
  if (snapshot.data) snapshot.data_source = metadata.text("data_source");
  snapshot.tool_version = metadata.text("tool_version");
  snapshot.config = metadata.text("config");

  const auto& variables = snapshot.identity.variables;
  const auto slots = slot_names(snapshot.identity.optimizer.kind);
  if (file.tensors().size() != variables.size() * (1 + slots.size())) {
    fail(ExitCode::kData, "{}: {} tensors, but {} variables with {} slots each make {}", path.string(),
         file.tensors().size(), variables.size(), slots.size(), variables.size() * (1 + slots.size()));
  }
  const std::size_t size = variables.empty() ? 0 : static_cast<std::size_t>(variables.back().range.end());
  snapshot.parameters.resize(size);
  for (const Variable& variable : variables) {
    file.read(*file.find(variable.name), slice(std::span(snapshot.parameters), variable.range));
  }
  for (const std::string& slot : slots) snapshot.slots.push_back(read_slot(file, slot, variables, size));
  if (const std::string tensor = not_finite_tensor(snapshot); !tensor.empty()) {
    fail(ExitCode::kData, "{}: tensor \"{}\" has a number that is not finite, so the model is ruined", path.string(),
         printable(tensor));
  }
  return snapshot;
}

void require_same_model(const ModelSnapshot& snapshot, const ModelIdentity& flags, const std::filesystem::path& path) {
  const ModelIdentity& saved = snapshot.identity;
  const auto refuse = [&](std::string_view what, std::string_view saved_value, std::string_view flags_value) {
    fail(ExitCode::kVersion,
         "{} has the {} {}, but the flags ask for {}; use the flags of that run, or pass --fresh to move it aside and "
         "start over",
         path.string(), what, printable(saved_value, 500), flags_value);
  };
  if (saved.model != flags.model) refuse("model", saved.model, flags.model);
  for (std::size_t i = 0; i < std::max(saved.variables.size(), flags.variables.size()); ++i) {
    const auto saved_text = variable_text(saved.variables, i), flags_text = variable_text(flags.variables, i);
    if (saved_text != flags_text) refuse(fmt::format("variable {}:", i), saved_text, flags_text);
  }
  if (saved.graph != flags.graph) refuse("graph", saved.graph, flags.graph);
  if (saved.optimizer.kind != flags.optimizer.kind) {
    refuse("optimizer", to_string(saved.optimizer.kind), to_string(flags.optimizer.kind));
  }
}

}  // namespace distmnist
