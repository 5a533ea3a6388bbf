#include "lib/worker/resident_loop.h"

#include <algorithm>
#include <cassert>
#include <vector>

#include "data/dataset.h"
#include "lib/base/clock.h"
#include "lib/worker/resident_client.h"

namespace distmnist {
namespace {

// Signals are checked and checkpoints saved only between turns, so a turn should not block the host longer than this.
constexpr double kTurnSeconds = 0.2;

class ResidentLoop final : public StepLoop {
 public:
  ResidentLoop(const TrainingConfig& config, const TrainingParts& parts, ResidentClient& client, Progress& progress)
      : config_(config),
        client_(client),
        progress_(progress),
        train_(parts.data.train),
        order_(repeat(shuffle(slices(parts.data.train), config.seed, static_cast<std::uint64_t>(config.task_index)))) {
    assert(config.augmentation == Augmentation::kNone);
  }

  void begin() override {
    progress_.set_step(client_.global_step());
    position_ = client_.consumed_samples();
  }

  void advance() override {
    const double began_s = monotonic_s();
    const std::int64_t batch_size = config_.batch_sizes.at(progress_.step());
    run(steps_of_turn(), batch_size);
    fit_largest_turn(monotonic_s() - began_s);
    progress_.report(last_, batch_size);
  }

 private:
  // A turn ends at the next line to print, at a change of the batch size, and at the end of training.
  std::int64_t steps_of_turn() const {
    const std::int64_t step = progress_.step();
    return std::min({largest_turn_, config_.log_every - step % config_.log_every,
                     config_.batch_sizes.next_change(step) - step, config_.train_steps - step});
  }

  void run(std::int64_t steps, std::int64_t batch_size) {
    check_batch_size(batch_size, train_);
    samples_.resize(static_cast<std::size_t>(steps * batch_size));
    fill_samples(*order_, position_, samples_);
    progress_.accounting().begin_step(monotonic_s(), {});
    const Turn turn = client_.run({batch_size, samples_, static_cast<std::uint64_t>(position_)});
    const bool wanted =
        !waited_ || turn.global_step % config_.log_every == 0 || turn.global_step == config_.train_steps;
    if (wanted) last_ = client_.last_step();
    progress_.accounting().end_resident_steps(steps, monotonic_s());
    position_ = turn.consumed_samples;
    progress_.set_step(turn.global_step);
    if (!wanted) return;
    waited_ = true;
    progress_.require_finite(last_.loss);
    progress_.note_step_done();
  }

  void fit_largest_turn(double took_s) {
    if (took_s > kTurnSeconds) largest_turn_ = std::max<std::int64_t>(1, largest_turn_ / 2);
    if (took_s < kTurnSeconds / 4) largest_turn_ = std::min(kLargestTurn, largest_turn_ * 2);
  }

  const TrainingConfig& config_;
  ResidentClient& client_;
  Progress& progress_;
  const ImageSet& train_;
  DatasetPtr order_;
  std::int64_t position_ = 0;      // of the next turn's first sample
  std::int64_t largest_turn_ = 1;  // in steps; doubles while turns are short
  std::vector<std::int32_t> samples_;
  StepResult last_;      // the last known result
  bool waited_ = false;  // The first turn has one step, and the loop waits for it so that there is a result to show.
};

}  // namespace

std::unique_ptr<StepLoop> make_resident_loop(const TrainingConfig& config, const TrainingParts& parts,
                                             ResidentClient& client, Progress& progress) {
  return std::make_unique<ResidentLoop>(config, parts, client, progress);
}

}  // namespace distmnist
