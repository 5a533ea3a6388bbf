// prefetch() of data/dataset.h.
#include <cassert>
#include <exception>
#include <thread>
#include <utility>

#include "data/dataset.h"
#include "lib/base/blocking_queue.h"

namespace distmnist {
namespace {

// `depth` buffers circulate between two queues: the thread fills those of empty_, and next() swaps the caller's buffer
// for one of filled_. Once every buffer has reached its size, nothing is allocated.
class Prefetch : public BatchSource {
 public:
  Prefetch(BatchSourcePtr input, std::size_t depth) : input_(std::move(input)), empty_(depth), filled_(depth) {
    for (std::size_t i = 0; i < depth; ++i) empty_.push({});
    thread_ = std::jthread([this] { fill_buffers(); });
  }
  ~Prefetch() override {
    empty_.close();
    filled_.close();
  }

  bool next(TrainBatch& batch) override {
    auto filled = filled_.pop();
    if (!filled) {
      if (error_) std::rethrow_exception(error_);
      return false;
    }
    std::swap(batch, *filled);
    empty_.push(std::move(*filled));
    return true;
  }

 private:
  void fill_buffers() {
    try {
      while (auto buffer = empty_.pop()) {
        if (!input_->next(*buffer) || !filled_.push(std::move(*buffer))) break;
      }
    } catch (...) {
      error_ = std::current_exception();
    }
    filled_.close();
  }

  BatchSourcePtr input_;
  BlockingQueue<TrainBatch> empty_;
  BlockingQueue<TrainBatch> filled_;
  std::exception_ptr error_;  // written before filled_ is closed, read after it has ended
  std::jthread thread_;       // last, so that it is joined before the members it uses are destroyed
};

}  // namespace

BatchSourcePtr prefetch(BatchSourcePtr input, int depth) {
  assert(depth >= 1);
  return std::make_unique<Prefetch>(std::move(input), static_cast<std::size_t>(depth));
}

}  // namespace distmnist
