#include "lib/worker/evaluation.h"

#include <algorithm>
#include <cmath>

#include <fmt/core.h>

namespace distmnist {

void scale_pixels(std::span<const std::uint8_t> pixels, std::span<float> values) {
  for (std::size_t i = 0; i < pixels.size(); ++i) values[i] = static_cast<float>(pixels[i]) / 255.0f;
}

std::vector<double> softmax_of(std::span<const float> logits) {
  const double largest = *std::ranges::max_element(logits);
  std::vector<double> out(logits.begin(), logits.end());
  double sum = 0;
  for (double& value : out) sum += value = std::exp(value - largest);
  for (double& value : out) value /= sum;
  return out;
}

Evaluation evaluate(Executor& executor, const ImageSet& images, std::int64_t batch_size, std::int64_t classes,
                    const std::function<void()>& after_batch) {
  Evaluation out;
  out.count = images.count;
  out.confusion.assign(static_cast<std::size_t>(classes), std::vector<std::int64_t>(static_cast<std::size_t>(classes)));
  const auto image_size = static_cast<std::size_t>(images.image_size());
  std::vector<float> input(static_cast<std::size_t>(batch_size) * image_size);
  std::vector<float> logits(static_cast<std::size_t>(batch_size * classes));
  std::int64_t correct = 0;
  for (std::int64_t first = 0; first < images.count; first += batch_size) {
    const auto size = static_cast<std::size_t>(std::min(batch_size, images.count - first));
    const auto pixels = images.pixels.subspan(static_cast<std::size_t>(first) * image_size, size * image_size);
    scale_pixels(pixels, std::span(input).first(pixels.size()));
    executor.predict(static_cast<std::int64_t>(size), std::span(input).first(pixels.size()),
                     std::span(logits).first(size * static_cast<std::size_t>(classes)));
    if (after_batch) after_batch();
    for (std::size_t i = 0; i < size; ++i) {
      const auto row =
          std::span(logits).subspan(i * static_cast<std::size_t>(classes), static_cast<std::size_t>(classes));
      const std::size_t label = images.labels[static_cast<std::size_t>(first) + i];
      const auto predicted = static_cast<std::size_t>(std::ranges::max_element(row) - row.begin());
      correct += predicted == label;
      ++out.confusion[label][predicted];
      out.loss -= std::log(std::max(softmax_of(row)[label], 1e-300));
    }
  }
  out.accuracy = static_cast<double>(correct) / static_cast<double>(images.count);
  out.loss /= static_cast<double>(images.count);
  return out;
}

std::vector<std::string> confusion_table(const Evaluation& evaluation) {
  std::string head = "label\\predicted";
  for (std::size_t c = 0; c < evaluation.confusion.size(); ++c) head += fmt::format("{:>6}", c);
  std::vector<std::string> lines = {head};
  for (std::size_t label = 0; label < evaluation.confusion.size(); ++label) {
    std::string line = fmt::format("{:>15}", label);
    for (const std::int64_t count : evaluation.confusion[label]) line += fmt::format("{:>6}", count);
    lines.push_back(line);
  }
  return lines;
}

}  // namespace distmnist
