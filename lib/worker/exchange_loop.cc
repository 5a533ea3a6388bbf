#include "lib/worker/exchange_loop.h"

#include <cmath>
#include <optional>
#include <utility>

#include "data/augment.h"
#include "data/dataset.h"
#include "lib/base/clock.h"

namespace distmnist {
namespace {

constexpr int kPrefetchedBatches = 2;

class ExchangeLoop final : public StepLoop {
 public:
  ExchangeLoop(const TrainingConfig& config, const TrainingParts& parts, ParameterClient& client, Progress& progress)
      : config_(config), parts_(parts), client_(client), progress_(progress) {
    push_ = [this](Range range) { client_.push(range); };
    gradients_ = numbers_of(parts.executor.gradients());
    if (client.gradient_dtype() != WireDtype::kBf16) return;
    const std::span<const std::uint16_t> halves = parts.executor.round_gradients();
    if (!halves.empty()) gradients_ = {WireDtype::kBf16, std::as_bytes(halves)};
  }

  void begin() override {
    const Turn turn = client_.join(parts_.executor);
    progress_.set_step(turn.global_step);
    position_ = turn.consumed_samples;
    batches_.reset();
  }

  void advance() override {
    if (parts_.watchdog != nullptr) parts_.watchdog->begin(progress_.step());
    const std::int64_t wanted = config_.batch_sizes.at(progress_.step());
    if (!batches_ || batch_size_ != wanted) {
      batch_size_ = wanted;
      batches_ = make_batches();  // Drops the batches prefetched with the old size.
    }
    batches_->next(batch_);
    position_ = batch_.first_sample + batch_.size;
    if (const auto result = step()) progress_.report(*result, batch_.size);
  }

 private:
  BatchSourcePtr make_batches() const {
    const auto worker = static_cast<std::uint64_t>(config_.task_index);
    const ImageSet& train = parts_.data.train;
    auto batches = batch(repeat(shuffle(slices(train), config_.seed, worker)), batch_size_, position_);
    const AugmentOptions options{.augmentation = config_.augmentation,
                                 .height = train.height,
                                 .width = train.width,
                                 .seed = config_.seed,
                                 .worker = worker};
    return prefetch(augment(std::move(batches), options), kPrefetchedBatches);
  }

  // Empty if the step does not count because one of its numbers is not finite.
  std::optional<StepResult> step() {
    const Batch batch{batch_.size, batch_.images, batch_.labels, static_cast<std::uint64_t>(batch_.first_sample)};
    progress_.accounting().begin_step(monotonic_s(), client_.costs());
    client_.begin_push(gradients_, progress_.step(), batch_.size);
    const StepResult result = parts_.executor.train_step(batch, push_);
    if (config_.on_nan == OnNan::kFail) progress_.require_finite(result.loss);
    if (!std::isfinite(result.loss)) client_.drop_push();
    if (parts_.watchdog != nullptr) parts_.watchdog->end();
    const Turn turn = client_.finish_push(parts_.executor);
    progress_.accounting().end_step(turn, monotonic_s(), client_.costs());
    progress_.set_step(turn.global_step);
    progress_.note_step_done();
    if (!turn.finite) return std::nullopt;
    return result;
  }

  const TrainingConfig& config_;
  const TrainingParts& parts_;
  ParameterClient& client_;
  Progress& progress_;
  GradientReady push_;
  Numbers gradients_;          // the executor's
  std::int64_t position_ = 0;  // of the sample after the last batch
  std::int64_t batch_size_ = 0;
  BatchSourcePtr batches_;  // made with batch_size_; null before the first batch of a session
  TrainBatch batch_;
};

}  // namespace

std::unique_ptr<StepLoop> make_exchange_loop(const TrainingConfig& config, const TrainingParts& parts,
                                             ParameterClient& client, Progress& progress) {
  return std::make_unique<ExchangeLoop>(config, parts, client, progress);
}

}  // namespace distmnist
