#include "lib/base/side_thread.h"

#include <atomic>
#include <chrono>
#include <future>

#include "lib/base/clock.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

// Work that comes back only when it is let go.
class Stuck {
 public:
  std::function<void()> work() const {
    return [gate = gate_] { gate->get_future().wait(); };
  }
  void let_go() { gate_->set_value(); }

 private:
  std::shared_ptr<std::promise<void>> gate_ = std::make_shared<std::promise<void>>();
};

}  // namespace

TEST_CASE("posted work is done in order") {
  std::string done;
  SideThread thread;
  for (char c = 'a'; c <= 'e'; ++c) thread.post([&done, c] { done += c; });
  REQUIRE(thread.finish(60'000));
  CHECK(done == "abcde");
}

TEST_CASE("the end of a side thread waits for posted work") {
  std::atomic<bool> done = false;
  {
    SideThread thread;
    thread.post([&done] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      done = true;
    });
  }
  CHECK(done);
}

TEST_CASE("work that does not come back is not waited for, and what was posted after it is dropped") {
  const auto done = std::make_shared<std::atomic<bool>>(false);
  Stuck stuck;
  {
    SideThread thread;
    thread.post(stuck.work());
    thread.post([done] { *done = true; });
    CHECK_FALSE(thread.finish(50));
  }
  stuck.let_go();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK_FALSE(*done);
}

TEST_CASE("a result is there once its function has returned, and is taken once") {
  Stuck stuck;
  Eventually<int> answer([work = stuck.work()] { return work(), 42; });
  CHECK_FALSE(answer.take());
  CHECK_FALSE(answer.take(50));
  stuck.let_go();
  CHECK(answer.take(60'000) == 42);
  CHECK_FALSE(answer.take());
}

}  // namespace distmnist
