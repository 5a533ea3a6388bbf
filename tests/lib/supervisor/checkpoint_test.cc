#include "lib/supervisor/checkpoint.h"

#include <array>
#include <limits>

#include "lib/supervisor/safetensors.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/sample_snapshot.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

namespace {

// A checkpoint with one change in its metadata and correct checksums, like one from a different writer.
class ForeignWriter {
 public:
  ForeignWriter() {
    write_checkpoint(path(), sample_snapshot(10));
    const SafetensorsReader file(path());
    metadata = file.metadata();
    for (const TensorInfo& tensor : file.tensors()) {
      auto& values = blocks_.emplace_back(tensor.size_bytes() / sizeof(float));
      file.read(tensor, std::span<float>(values));
      tensors.push_back({tensor.name, tensor.shape, values});
    }
  }
  std::filesystem::path path() const { return dir_ / "model.ckpt-10.safetensors"; }

  // True if reading the current `metadata` and `tensors` is an error of this kind.
  bool is_refused(ExitCode code, const std::string& text) const {
    write_safetensors(path(), metadata, tensors);
    return fails_with(code, text, [this] { read_checkpoint(path()); });
  }

  std::map<std::string, std::string> metadata;
  std::vector<NamedTensor> tensors;

 private:
  TempDir dir_;
  std::vector<std::vector<float>> blocks_;
};

}  // namespace

TEST_CASE("a snapshot is restored completely from its checkpoint") {
  const TempDir dir;
  for (const OptimizerKind kind : all_optimizers()) {
    ModelIdentity identity = sample_identity();
    identity.optimizer = {.kind = kind,
                          .learning_rate = 3e-4f,
                          .momentum = 0.7f,
                          .nesterov = true,
                          .beta1 = 0.8f,
                          .beta2 = 0.99f,
                          .decay = 0.6f,
                          .epsilon = std::numeric_limits<float>::denorm_min()};
    identity.optimizer.learning_rate.schedule = LearningRateSchedule::kExponential;
    identity.optimizer.learning_rate.decay_steps = 5000;
    identity.optimizer.learning_rate.decay_rate = 0.93f;
    identity.optimizer.learning_rate.warmup_steps = 12;
    const ModelSnapshot written = sample_snapshot(1207, identity);
    write_checkpoint(dir / "f", written);
    const ModelSnapshot read = read_checkpoint(dir / "f");
    CHECK(read.global_step == 1207);
    CHECK(read.run_id == written.run_id);
    CHECK(read.seed == written.seed);
    CHECK(read.consumed_samples == written.consumed_samples);
    CHECK(read.tool_version == written.tool_version);
    CHECK(read.config == written.config);
    CHECK(read.parameters == written.parameters);
    CHECK(read.slots == written.slots);
    CHECK(read.identity.model == "tiny");
    CHECK(read.identity.graph == identity.graph);
    CHECK(read.identity.optimizer == identity.optimizer);
    REQUIRE(read.identity.variables.size() == identity.variables.size());
    for (std::size_t i = 0; i < identity.variables.size(); ++i) {
      CHECK(read.identity.variables[i].name == identity.variables[i].name);
      CHECK(read.identity.variables[i].shape == identity.variables[i].shape);
      CHECK(read.identity.variables[i].range == identity.variables[i].range);
    }
    require_same_model(read, identity, dir / "f");
  }
}

TEST_CASE("variables and slots are tensors with their name and shape") {
  const TempDir dir;
  write_checkpoint(dir / "f", sample_snapshot(10));
  const SafetensorsReader file(dir / "f");
  CHECK(file.tensors().size() == 12);
  REQUIRE(file.find("pred/weights") != nullptr);
  CHECK(file.find("pred/weights")->shape == std::vector<std::int64_t>{2, 3});
  REQUIRE(file.find("optimizer/m/fc1/weights") != nullptr);
  CHECK(file.find("optimizer/m/fc1/weights")->shape == std::vector<std::int64_t>{3, 4});
  REQUIRE(file.find("optimizer/v/pred/biases") != nullptr);
  std::array<float, 2> values{};
  file.read(*file.find("optimizer/v/pred/biases"), std::span<float>(values));
  CHECK(values == std::array<float, 2>{2010.0f + 0.25f * 21, 2010.0f + 0.25f * 22});
}

TEST_CASE("each optimizer's slots have their own names") {
  const TempDir dir;
  const auto slot_tensors = [&](OptimizerKind kind) {
    ModelIdentity identity = sample_identity();
    identity.optimizer = default_optimizer(kind);
    write_checkpoint(dir / "f", sample_snapshot(10, identity));
    std::vector<std::string> names;
    const SafetensorsReader file(dir / "f");
    for (const TensorInfo& tensor : file.tensors()) {
      if (tensor.name.ends_with("pred/biases")) names.push_back(tensor.name);
    }
    return names;
  };
  CHECK(slot_tensors(OptimizerKind::kAdagrad) ==
        std::vector<std::string>{"pred/biases", "optimizer/accumulator/pred/biases"});
  CHECK(slot_tensors(OptimizerKind::kRmsprop) ==
        std::vector<std::string>{"pred/biases", "optimizer/rms/pred/biases", "optimizer/momentum/pred/biases"});
}

TEST_CASE("a file written before schedules existed has a constant learning rate") {
  ForeignWriter file;
  for (const char* key :
       {"nesterov", "decay", "learning_rate_schedule", "learning_rate_warmup_steps", "decay_steps", "decay_rate"}) {
    CHECK(file.metadata.erase(key) == 1);
  }
  write_safetensors(file.path(), file.metadata, file.tensors);
  CHECK(read_checkpoint(file.path()).identity.optimizer == sample_identity().optimizer);
}

TEST_CASE("a file of a different program is not a checkpoint, and the error names what is missing") {
  const TempDir dir;
  const std::array<float, 1> values = {1};
  write_safetensors(dir / "f", {}, std::array<NamedTensor, 1>{{{"w", {1}, values}}});
  CHECK(fails_with(ExitCode::kData,
                   "from another program, not a distmnist checkpoint: its metadata has no "
                   "distmnist_checkpoint",
                   [&] { read_checkpoint(dir / "f"); }));
}

TEST_CASE("missing or invalid metadata is named") {
  ForeignWriter file;
  const auto original = file.metadata;
  for (const char* key :
       {"global_step", "run_id", "seed", "model", "graph", "optimizer", "beta1", "consumed_samples"}) {
    file.metadata = original;
    file.metadata.erase(key);
    CHECK(file.is_refused(ExitCode::kData, fmt::format("its metadata has no {}", key)));
  }
  const std::array<std::pair<const char*, const char*>, 16> wrong = {{{"global_step", "-1"},
                                                                      {"global_step", "12x"},
                                                                      {"global_step", "99999999999999999999"},
                                                                      {"global_step", ""},
                                                                      {"run_id", "xyz"},
                                                                      {"learning_rate", "fast"},
                                                                      {"decay_steps", "-1"},
                                                                      {"decay_rate", ""},
                                                                      {"learning_rate_warmup_steps", "soon"},
                                                                      {"nesterov", "maybe"},
                                                                      {"consumed_samples", "0:1 0:2"},
                                                                      {"consumed_samples", "1"},
                                                                      {"consumed_samples", "-1:5"},
                                                                      {"consumed_samples", "0:5,1:6"},
                                                                      {"consumed_samples", "0:1152921504606846976"},
                                                                      {"global_step", "9223372036854775807"}}};
  for (const auto& [key, value] : wrong) {
    file.metadata = original;
    file.metadata[key] = value;
    CHECK(file.is_refused(ExitCode::kData, fmt::format("the metadata {} is \"{}\"", key, value)));
  }
}

TEST_CASE("a different format or an unknown optimizer is a version error") {
  ForeignWriter file;
  for (const char* format : {"1", "3"}) {
    file.metadata["distmnist_checkpoint"] = format;
    CHECK(file.is_refused(ExitCode::kVersion, fmt::format("a checkpoint of format {} from distmnist 0.1.0", format)));
  }
  file.metadata["distmnist_checkpoint"] = "2";
  file.metadata["optimizer"] = "lion";
  CHECK(file.is_refused(ExitCode::kVersion, "the optimizer \"lion\""));
  file.metadata["optimizer"] = "adam";
  file.metadata["learning_rate_schedule"] = "linear";
  CHECK(file.is_refused(ExitCode::kVersion, "the learning_rate_schedule \"linear\""));
}

TEST_CASE("slots that are missing, too many or of a different shape are named") {
  ForeignWriter file;
  const auto original = file.tensors;
  file.tensors.pop_back();
  CHECK(file.is_refused(ExitCode::kData, "11 tensors, but 4 variables with 2 slots each make 12"));
  file.tensors = original;
  file.tensors.back().name = "optimizer/w/pred/biases";
  CHECK(file.is_refused(ExitCode::kData, "no tensor \"optimizer/v/pred/biases\" of shape [2]"));
  file.tensors = original;
  file.tensors.back().shape = {1, 2};
  CHECK(file.is_refused(ExitCode::kData, "no tensor \"optimizer/v/pred/biases\" of shape [2]"));
}

TEST_CASE("a model, variable, graph or optimizer different from the flags' is refused with both values") {
  const ModelSnapshot snapshot = sample_snapshot(10);
  const auto refused = [&](const ModelIdentity& flags, const std::string& text) {
    return fails_with(ExitCode::kVersion, text, [&] { require_same_model(snapshot, flags, "file"); });
  };
  ModelIdentity flags = sample_identity();
  flags.optimizer.learning_rate = 1;
  require_same_model(snapshot, flags, "file");
  flags.model = "mlp";
  CHECK(refused(flags, "file has the model tiny, but the flags ask for mlp"));
  CHECK(refused(flags, "--fresh"));
  flags = sample_identity();
  flags.variables[2].shape = {3, 2};
  CHECK(refused(flags, "pred/weights [2, 3], but the flags ask for pred/weights [3, 2]"));
  flags = sample_identity();
  flags.variables.pop_back();
  CHECK(refused(flags, "pred/biases [2], but the flags ask for nothing"));
  flags = sample_identity();
  flags.graph = "other";
  CHECK(refused(flags, "the flags ask for other"));
  flags = sample_identity();
  flags.optimizer.kind = OptimizerKind::kSgd;
  CHECK(refused(flags, "the optimizer adam, but the flags ask for sgd"));
}

TEST_CASE("a checkpoint contains the data identity of its run") {
  const TempDir dir;
  ModelSnapshot snapshot = sample_snapshot(10);
  snapshot.data = DataIdentity{.train_count = 60000,
                               .test_count = 10000,
                               .height = 28,
                               .width = 27,
                               .num_classes = 10,
                               .labels_crc32c = 0x0badf00d,
                               .sampled_rows_crc32c = 0xfedcba98};
  snapshot.data_source = "/data/\"mnist\"";
  write_checkpoint(dir / "file", snapshot);
  CHECK(read_checkpoint(dir / "file").data == snapshot.data);
  CHECK(read_checkpoint(dir / "file").data_source == snapshot.data_source);
}

TEST_CASE("an old checkpoint without a data identity is accepted, and one with an incomplete identity is refused") {
  ForeignWriter writer;
  CHECK_FALSE(read_checkpoint(writer.path()).data.has_value());
  writer.metadata["data_source"] = "/data";
  CHECK(writer.is_refused(ExitCode::kData, "data_train_images"));
}
