#include "lib/supervisor/inspect.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "lib/base/error.h"
#include "lib/supervisor/checkpoint.h"
#include "lib/supervisor/safetensors.h"

namespace distmnist {
namespace {

constexpr std::size_t kMaxValueLength = 200;
constexpr std::string_view kChecksumPrefix = "crc32c_";
constexpr std::string_view kStep = "global_step";

struct Statistics {
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  double sum = 0;
  std::int64_t finite = 0;
  std::int64_t not_finite = 0;
};

Statistics statistics_of(std::span<const float> values) {
  Statistics result;
  for (const float value : values) {
    if (!std::isfinite(value)) {
      ++result.not_finite;
      continue;
    }
    ++result.finite;
    result.min = std::min<double>(result.min, value);
    result.max = std::max<double>(result.max, value);
    result.sum += value;
  }
  return result;
}

std::string statistics_text(const SafetensorsReader& file, const TensorInfo& tensor) {
  if (tensor.dtype != "F32") return "";
  std::vector<float> values(tensor.size_bytes() / sizeof(float));
  file.read(tensor, values);
  const Statistics s = statistics_of(values);
  std::string text;
  if (s.finite > 0) {
    text = fmt::format("  min {:.6g} max {:.6g} mean {:.6g}", s.min, s.max, s.sum / static_cast<double>(s.finite));
  }
  if (s.not_finite > 0) text += fmt::format("  {} not finite", s.not_finite);
  return text;
}

// A short value goes on one line; a text of several lines keeps its lines.
void add_metadata(const std::string& key, std::string_view value, std::vector<std::string>& lines) {
  if (value.find('\n') == value.npos) {
    lines.push_back(fmt::format("{}: {}", printable(key), printable(value, kMaxValueLength)));
    return;
  }
  lines.push_back(fmt::format("{}:", printable(key)));
  while (!value.empty()) {
    const std::string_view line = value.substr(0, value.find('\n'));
    lines.push_back("  " + printable(line, kMaxValueLength));
    value.remove_prefix(std::min(value.size(), line.size() + 1));
  }
}

}  // namespace

Inspection inspect_checkpoint(const std::filesystem::path& path) {
  const SafetensorsReader file(path);
  Inspection result;
  auto& lines = result.lines;
  lines.push_back(fmt::format("file: {} ({} bytes)", path.string(), file.size_bytes()));
  if (!file.has_checksums() && file.metadata().contains("distmnist_checkpoint")) {
    result.damage = path.string() + ": damaged: a checkpoint of distmnist without its checksums";
    lines.push_back("checksums: DAMAGED");
  } else if (!file.has_checksums()) {
    lines.push_back("checksums: none (written by another program)");
  } else {
    try {
      file.verify_checksums();
      lines.push_back("checksums: correct");
    } catch (const Error& error) {
      if (error.code() != ExitCode::kData) throw;
      result.damage = error.what();
      lines.push_back("checksums: DAMAGED");
    }
  }

  const auto step = file.metadata().find(std::string(kStep));
  if (step != file.metadata().end()) add_metadata(step->first, step->second, lines);
  for (const auto& [key, value] : file.metadata()) {
    if (key != kStep && !key.starts_with(kChecksumPrefix)) add_metadata(key, value, lines);
  }

  std::size_t width = 0;
  for (const TensorInfo& tensor : file.tensors()) width = std::max(width, printable(tensor.name).size());
  lines.push_back(fmt::format("tensors: {}", file.tensors().size()));
  for (const TensorInfo& tensor : file.tensors()) {
    lines.push_back(fmt::format("  {:{}}  {} {:<16} {:>9} bytes{}", printable(tensor.name), width, tensor.dtype,
                                shape_text(tensor.shape), tensor.size_bytes(), statistics_text(file, tensor)));
  }
  return result;
}

std::vector<std::string> verify_checkpoint(const std::filesystem::path& path) {
  const ModelSnapshot snapshot = read_checkpoint(path);
  const std::size_t variables = snapshot.identity.variables.size();
  std::string positions;
  for (const auto& [worker, samples] : snapshot.consumed_samples) {
    positions += fmt::format("{}worker:{} {}", positions.empty() ? "" : ", ", worker, samples);
  }
  return {fmt::format("file: {} ({} bytes)", path.string(), SafetensorsReader(path).size_bytes()),
          "header: correct, with its checksum",
          "data: correct, with its checksum",
          fmt::format("run: {:016x}, global_step {}", snapshot.run_id, snapshot.global_step),
          fmt::format("variables: {} of model {}, all numbers finite", variables, printable(snapshot.identity.model)),
          fmt::format("slots: {} of optimizer {}, all numbers finite", snapshot.slots.size() * variables,
                      to_string(snapshot.identity.optimizer.kind)),
          fmt::format("samples: {}", positions.empty() ? "none" : positions),
          "valid"};
}

}  // namespace distmnist
