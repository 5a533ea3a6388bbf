#include "lib/worker/towers.h"

#include <algorithm>
#include <cassert>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "lib/base/blocking_queue.h"

namespace distmnist {
namespace {

// Small enough that a piece of the mean stays in the cache while one tower after the other is added to it.
constexpr std::int64_t kAveragedFloats = 4096;

// An executor and the thread it works in.
class Tower {
 public:
  explicit Tower(std::unique_ptr<Executor> executor)
      : executor_(std::move(executor)), thread_([this] {
          while (const auto work = work_.pop()) (*work)();
        }) {}
  ~Tower() {
    work_.close();
    thread_.join();
  }

  Executor& executor() { return *executor_; }
  const Executor& executor() const { return *executor_; }
  // `work` throws nothing. Only while no other work is under way may anyone else call the executor.
  void start(std::function<void()> work) { work_.push(std::move(work)); }

 private:
  std::unique_ptr<Executor> executor_;
  BlockingQueue<std::function<void()>> work_{1};
  std::thread thread_;
};

// One call's work on the first `num_towers` towers. It lives on the caller's stack, and so does what the work refers
// to: the destructor waits until all towers have stopped. A tower never waits for another one, so that wait ends.
class JointWork {
 public:
  explicit JointWork(std::size_t num_towers) : failures_(num_towers) {}
  ~JointWork() { wait_for_all(); }

  // Of the caller: `work` is run by the tower of this index.
  void start(Tower& tower, std::size_t index, std::function<void()> work) {
    {
      const std::scoped_lock lock(mutex_);
      ++running_;
    }
    tower.start([this, index, work = std::move(work)] {
      try {
        work();
      } catch (...) {
        failures_[index] = std::current_exception();
      }
      const std::scoped_lock lock(mutex_);
      --running_;
      changed_.notify_one();  // Under the lock: after it the caller may be gone, and this object with it.
    });
  }

  // Of a tower: its gradient of this variable is final.
  void announce(Range variable) {
    const std::scoped_lock lock(mutex_);
    if (++announcements_[variable.offset] < failures_.size()) return;
    final_.push_back(variable);
    changed_.notify_one();
  }

  // Of the caller: the next variable that is final in all towers; nothing when all have stopped.
  std::optional<Range> next_final() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !final_.empty() || running_ == 0; });
    if (final_.empty()) return std::nullopt;
    const Range variable = final_.front();
    final_.pop_front();
    return variable;
  }

  // Of the caller: waits until all have stopped, and throws what the first of them that failed has thrown.
  void finish() {
    wait_for_all();
    for (const std::exception_ptr& failure : failures_) {
      if (failure) std::rethrow_exception(failure);
    }
  }

 private:
  void wait_for_all() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return running_ == 0; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t running_ = 0;
  std::map<std::int64_t, std::size_t> announcements_;  // by offset: how many towers have announced the variable
  std::deque<Range> final_;                            // to be averaged
  std::vector<std::exception_ptr> failures_;           // each written by its tower before it stops
};

// The samples of a part of `all`, which holds `batch_size` samples.
template <typename T>
std::span<T> samples(std::span<T> all, std::int64_t batch_size, const TowerPart& part) {
  const std::size_t per_sample = all.size() / static_cast<std::size_t>(batch_size);
  return all.subspan(static_cast<std::size_t>(part.first) * per_sample,
                     static_cast<std::size_t>(part.size) * per_sample);
}

class TowerExecutor final : public Executor {
 public:
  explicit TowerExecutor(std::vector<std::unique_ptr<Executor>> executors) {
    assert(!executors.empty());
    for (std::unique_ptr<Executor>& each : executors) {
      gradients_.push_back(each->gradients());
      towers_.push_back(std::make_unique<Tower>(std::move(each)));
    }
  }

  void load(Range range, std::span<const float> values) override {
    for (const auto& tower : towers_) tower->executor().load(range, values);
  }
  void read(Range range, std::span<float> values) const override {
    std::as_const(*towers_.front()).executor().read(range, values);
  }
  // The mean is made where the first tower's gradients are: a variable that all have announced is written by none.
  std::span<float> gradients() override { return gradients_.front(); }

  StepResult train_step(const Batch& batch, const GradientReady& ready) override {
    const std::vector<TowerPart> parts = parts_of(batch.size);
    std::vector<StepResult> results(parts.size());
    JointWork work(parts.size());
    for (std::size_t i = 0; i < parts.size(); ++i) {
      work.start(*towers_[i], i, [&, i] {
        const Batch own{.size = parts[i].size,
                        .images = samples(batch.images, batch.size, parts[i]),
                        .labels = samples(batch.labels, batch.size, parts[i]),
                        .first_sample = batch.first_sample + static_cast<std::uint64_t>(parts[i].first)};
        results[i] = towers_[i]->executor().train_step(own, [&](Range variable) { work.announce(variable); });
      });
    }
    while (const auto variable = work.next_final()) {
      average(*variable, parts, batch.size);
      if (ready) ready(*variable);
    }
    work.finish();
    StepResult mean;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      mean.loss += results[i].loss * static_cast<double>(parts[i].size) / static_cast<double>(batch.size);
      mean.correct += results[i].correct;
    }
    return mean;
  }

  // Of the first tower.
  std::vector<std::string> kernels() override { return towers_.front()->executor().kernels(); }

  void predict(std::int64_t count, std::span<const float> images, std::span<float> logits) override {
    const std::vector<TowerPart> parts = parts_of(count);
    JointWork work(parts.size());
    for (std::size_t i = 0; i < parts.size(); ++i) {
      work.start(*towers_[i], i, [&, i] {
        towers_[i]->executor().predict(parts[i].size, samples(images, count, parts[i]),
                                       samples(logits, count, parts[i]));
      });
    }
    work.finish();
  }

 private:
  // Of the towers that have something to do.
  std::vector<TowerPart> parts_of(std::int64_t batch_size) const {
    assert(batch_size >= 1);
    std::vector<TowerPart> parts(std::min(towers_.size(), static_cast<std::size_t>(batch_size)));
    for (std::size_t i = 0; i < parts.size(); ++i) parts[i] = part_of_tower(batch_size, i, towers_.size());
    return parts;
  }

  // Makes the first tower's gradient of `variable` the mean over all samples.
  void average(Range variable, const std::vector<TowerPart>& parts, std::int64_t batch_size) {
    if (parts.size() == 1) return;
    const auto weight = [&](const TowerPart& part) {
      return static_cast<float>(part.size) / static_cast<float>(batch_size);
    };
    for (std::int64_t offset = variable.offset; offset < variable.end(); offset += kAveragedFloats) {
      const Range piece{offset, std::min(kAveragedFloats, variable.end() - offset)};
      const std::span<float> mean = slice(gradients_[0], piece);
      for (float& value : mean) value *= weight(parts[0]);
      for (std::size_t i = 1; i < parts.size(); ++i) {
        const std::span<const float> part = slice(gradients_[i], piece);
        for (std::size_t k = 0; k < mean.size(); ++k) mean[k] += weight(parts[i]) * part[k];
      }
    }
  }

  std::vector<std::span<float>> gradients_;  // of each tower
  std::vector<std::unique_ptr<Tower>> towers_;
};

}  // namespace

std::unique_ptr<Executor> make_towers(std::vector<std::unique_ptr<Executor>> towers) {
  return std::make_unique<TowerExecutor>(std::move(towers));
}

}  // namespace distmnist
