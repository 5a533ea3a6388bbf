#include "data/dataset.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/random.h"

namespace distmnist {
namespace {

// Keeps the orders independent of everything else derived from the run's seed.
constexpr std::uint64_t kShuffleDomain = 0x73687566666c65;  // "shuffle"

class Slices : public Dataset {
 public:
  explicit Slices(ImageSet images) : images_(std::move(images)) {}
  const ImageSet& images() const override { return images_; }
  std::int64_t size() const override { return images_.count; }
  std::int64_t image_at(std::int64_t, std::int64_t position) override { return position; }

 private:
  ImageSet images_;
};

class Shuffle : public Dataset {
 public:
  Shuffle(DatasetPtr input, std::uint64_t seed, std::uint64_t worker)
      : input_(std::move(input)), key_(mix64(seed ^ kShuffleDomain) + worker) {
    assert(input_->size() <= std::numeric_limits<std::uint32_t>::max());
  }
  const ImageSet& images() const override { return input_->images(); }
  std::int64_t size() const override { return input_->size(); }
  std::int64_t image_at(std::int64_t pass, std::int64_t position) override {
    if (pass != order_pass_) make_order(pass);
    return input_->image_at(pass, order_[static_cast<std::size_t>(position)]);
  }

 private:
  void make_order(std::int64_t pass) {
    order_.resize(static_cast<std::size_t>(size()));
    Random random(key_, static_cast<std::uint64_t>(pass));
    // Fisher-Yates, inside-out: swaps position i with a random one in 0 .. i.
    for (std::size_t i = 0; i < order_.size(); ++i) {
      const std::size_t j = random.below(i + 1);
      order_[i] = order_[j];
      order_[j] = static_cast<std::uint32_t>(i);
    }
    order_pass_ = pass;
  }

  DatasetPtr input_;
  std::uint64_t key_;
  std::vector<std::uint32_t> order_;  // order of pass order_pass_
  std::int64_t order_pass_ = -1;
};

class Repeat : public Dataset {
 public:
  Repeat(DatasetPtr input, std::int64_t times) : input_(std::move(input)), times_(times) { assert(times >= 1); }
  const ImageSet& images() const override { return input_->images(); }
  std::int64_t size() const override {
    const std::int64_t once = input_->size();
    return once > 0 && times_ > kEndless / once ? kEndless : once * times_;
  }
  std::int64_t image_at(std::int64_t pass, std::int64_t position) override {
    const std::int64_t once = input_->size();
    const std::int64_t passes_before = times_ == kEndless ? 0 : pass * times_;
    return input_->image_at(passes_before + position / once, position % once);
  }

 private:
  DatasetPtr input_;
  std::int64_t times_;
};

class Batch : public BatchSource {
 public:
  Batch(DatasetPtr input, std::int64_t batch_size, std::int64_t start_sample, LastBatch last_batch)
      : input_(std::move(input)), batch_size_(batch_size), position_(start_sample), last_batch_(last_batch) {}

  bool next(TrainBatch& batch) override {
    const std::int64_t size = std::min(batch_size_, input_->size() - position_);
    if (size <= 0 || (size < batch_size_ && last_batch_ == LastBatch::kDropped)) return false;
    const auto image_size = static_cast<std::size_t>(input_->images().image_size());
    batch.first_sample = position_;
    batch.size = size;
    batch.images.resize(static_cast<std::size_t>(size) * image_size);
    batch.labels.resize(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < batch.labels.size(); ++i) {
      copy_sample(static_cast<std::size_t>(input_->image_at(0, position_++)), &batch.images[i * image_size],
                  batch.labels[i]);
    }
    return true;
  }

 private:
  void copy_sample(std::size_t image, float* pixels, std::uint8_t& label) const {
    const ImageSet& images = input_->images();
    const auto image_size = static_cast<std::size_t>(images.image_size());
    const auto bytes = images.pixels.subspan(image * image_size, image_size);
    std::ranges::transform(bytes, pixels, [](std::uint8_t byte) { return static_cast<float>(byte) / 255.0f; });
    label = images.labels[image];
  }

  DatasetPtr input_;
  std::int64_t batch_size_;
  std::int64_t position_;  // of the next batch's first sample
  LastBatch last_batch_;
};

}  // namespace

DatasetPtr slices(ImageSet images) {
  return std::make_unique<Slices>(std::move(images));
}

DatasetPtr shuffle(DatasetPtr input, std::uint64_t seed, std::uint64_t worker) {
  return std::make_unique<Shuffle>(std::move(input), seed, worker);
}

DatasetPtr repeat(DatasetPtr input, std::int64_t times) {
  return std::make_unique<Repeat>(std::move(input), times);
}

void fill_samples(Dataset& order, std::int64_t first, std::span<std::int32_t> images) {
  assert(first >= 0 && first <= order.size() - std::ssize(images));
  assert(order.images().count <= std::numeric_limits<std::int32_t>::max());
  for (std::int32_t& image : images) image = static_cast<std::int32_t>(order.image_at(0, first++));
}

void check_batch_size(std::int64_t batch_size, const ImageSet& images) {
  if (batch_size >= 1 && batch_size <= images.count) return;
  fail(ExitCode::kUsage, "batch size {} does not fit a data set of {} images: it must be from 1 to {}", batch_size,
       images.count, images.count);
}

BatchSourcePtr batch(DatasetPtr input, std::int64_t batch_size, std::int64_t start_sample, LastBatch last_batch) {
  check_batch_size(batch_size, input->images());
  if (start_sample < 0)
    fail(ExitCode::kUsage, "the data cannot start at sample {}: it must be 0 or more", start_sample);
  return std::make_unique<Batch>(std::move(input), batch_size, start_sample, last_batch);
}

}  // namespace distmnist
