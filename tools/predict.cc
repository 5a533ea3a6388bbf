// distmnist predict: the class and probabilities of pictures, and of IDX files of images.
#include <new>
#include <string>
#include <vector>

#include "data/idx.h"
#include "data/normalized_digit.h"
#include "lib/base/log.h"
#include "lib/base/output.h"
#include "lib/worker/evaluation.h"
#include "tools/commands.h"
#include "tools/flags.h"
#include "tools/picture_file.h"
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

std::vector<std::uint8_t> digit_of(const std::string& file, PictureFormat format, bool raw) {
  const Picture picture = read_picture(file, format);
  if (!raw) {
    std::optional<std::vector<std::uint8_t>> digit = normalize_digit(picture);
    if (!digit) fail(ExitCode::kData, "{}: the picture is blank: there is no digit to be seen", file);
    return *std::move(digit);
  }
  if (picture.height != kDigitSide || picture.width != kDigitSide) {
    fail(ExitCode::kData, "{}: {} x {} pixels; --raw takes only {} x {}, but any size works without it", file,
         picture.width, picture.height, kDigitSide, kDigitSide);
  }
  return raw_digit(picture);
}

void predict_idx(const RestoredModel& model, const std::string& file) {
  const IdxArray images = read_idx(file, IdxKind::kImages);
  if (images.dimensions[1] != kDigitSide || images.dimensions[2] != kDigitSide) {
    fail(ExitCode::kData, "{}: images of {}x{} pixels; the model takes {}x{}", file, images.dimensions[1],
         images.dimensions[2], kDigitSide, kDigitSide);
  }
  for (std::int64_t i = 0; i < images.dimensions[0]; ++i) {
    const auto first = static_cast<std::size_t>(i * kDigitSide * kDigitSide);
    predict_one(model, fmt::format("{}[{}]", file, i), images.data.subspan(first, kDigitSide * kDigitSide));
  }
}

void predict_file(const RestoredModel& model, const std::string& file, bool raw) {
  if (file == "-") fail(ExitCode::kData, "-: standard input is not read; name a file (./- for a file of that name)");
  const KnownFile known = format_of_file(file);
  switch (known.format) {
    case PictureFormat::kPng:
    case PictureFormat::kJpeg:
      predict_one(model, file, digit_of(file, known.format, raw));
      return;
    case PictureFormat::kIdx:
      predict_idx(model, file);
      return;
    case PictureFormat::kOther:
      fail(ExitCode::kData, "{}: {}; only PNG, JPEG and IDX files of images can be read", file, known.name);
  }
}

}  // namespace

ExitCode predict_command(const Flags& flags) {
  Devices devices(find_gpu_search());
  const RestoredModel model = restore_model(flags, devices, 1);
  if (model.graph.input.size() != kDigitSide * kDigitSide)
    fail(ExitCode::kData, "the model does not take 28x28 images");
  std::size_t failed = 0;
  for (const std::string& file : flags.files.files) {
    std::string problem;
    try {
      predict_file(model, file, flags.files.raw);
      continue;
    } catch (const Error& error) {
      // Continue with the other files after a bad one.
      if (error.code() != ExitCode::kData || flags.files.files.size() == 1) throw;
      problem = error.what();
    } catch (const std::bad_alloc&) {
      problem = fmt::format("{}: not enough memory for it", file);
    }
    log_error("error: {}", problem);
    ++failed;
  }
  if (failed > 0) {
    fail(ExitCode::kData, "{} of {} files could not be predicted; the lines above say which and why", failed,
         flags.files.files.size());
  }
  return ExitCode::kOk;
}

}  // namespace distmnist
