// distmnist predict: the class and the probabilities of images, PNG or IDX.
#include <filesystem>
#include <string>
#include <vector>

#include "data/idx.h"
#include "lib/base/output.h"
#include "lib/worker/evaluation.h"
#include "tools/commands.h"
#include "tools/png_image.h"
#include "tools/restored_model.h"

namespace distmnist {
namespace {

void predict_one(const RestoredModel& model, const std::string& name, std::span<const std::uint8_t> pixels) {
  std::vector<float> input(pixels.size());
  std::vector<float> logits(static_cast<std::size_t>(model.graph.output().size()));
  scale_pixels(pixels, input);
  model.executor->predict(1, input, logits);
  const std::vector<double> probabilities = softmax_of(logits);
  std::size_t best = 0;
  for (std::size_t c = 1; c < probabilities.size(); ++c) best = probabilities[c] > probabilities[best] ? c : best;
  std::string line = fmt::format("{}: {} ({:.4f})  [", name, best, probabilities[best]);
  for (std::size_t c = 0; c < probabilities.size(); ++c)
    line += fmt::format("{}{}: {:.4f}", c == 0 ? "" : ", ", c, probabilities[c]);
  print("{}]\n", line);
}

bool is_png(const std::string& file) {
  return std::filesystem::path(file).extension() == ".png";
}

}  // namespace

ExitCode predict_command(const Flags& flags) {
  Devices devices(find_gpu_search());
  const RestoredModel model = restore_model(flags, devices, 1);
  constexpr std::int64_t kSide = 28;
  if (model.graph.input.size() != kSide * kSide) fail(ExitCode::kData, "the model does not take 28x28 images");
  for (const std::string& file : flags.files) {
    if (is_png(file)) {
      predict_one(model, file, read_digit_png(file, kSide));
      continue;
    }
    const IdxArray images = read_idx(file, IdxKind::kImages);
    if (images.dimensions[1] != kSide || images.dimensions[2] != kSide) {
      fail(ExitCode::kData, "{}: images of {}x{} pixels; the model takes {}x{}", file, images.dimensions[1],
           images.dimensions[2], kSide, kSide);
    }
    for (std::int64_t i = 0; i < images.dimensions[0]; ++i) {
      const auto first = static_cast<std::size_t>(i * kSide * kSide);
      predict_one(model, fmt::format("{}[{}]", file, i), images.data.subspan(first, kSide * kSide));
    }
  }
  return ExitCode::kOk;
}

}  // namespace distmnist
