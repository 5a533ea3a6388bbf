#include "lib/base/blocking_queue.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

using distmnist::BlockingQueue;

namespace {

// Gives a thread that does not wait enough time to finish. A shorter time would not make a test fail.
void give_others_time() {
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

}  // namespace

TEST_CASE("items come out in the order in which they went in") {
  BlockingQueue<int> queue(3);
  CHECK(queue.push(1));
  CHECK(queue.push(2));
  CHECK(queue.push(3));
  CHECK(queue.size() == 3);
  CHECK(queue.pop() == 1);
  CHECK(queue.pop() == 2);
  CHECK(queue.pop() == 3);
  CHECK(queue.size() == 0);
}

TEST_CASE("push waits while the queue is full") {
  BlockingQueue<int> queue(1);
  REQUIRE(queue.push(1));
  std::atomic<bool> pushed = false;
  std::jthread producer([&] {
    queue.push(2);
    pushed = true;
  });
  give_others_time();
  CHECK_FALSE(pushed);
  CHECK(queue.pop() == 1);
  CHECK(queue.pop() == 2);
}

TEST_CASE("pop waits while the queue is empty") {
  BlockingQueue<int> queue(1);
  std::atomic<bool> popped = false;
  std::optional<int> item;
  {
    std::jthread consumer([&] {
      item = queue.pop();
      popped = true;
    });
    give_others_time();
    CHECK_FALSE(popped);
    queue.push(7);
  }
  CHECK(item == 7);
}

TEST_CASE("close wakes a thread that waits to push, and its item is not added") {
  BlockingQueue<int> queue(1);
  REQUIRE(queue.push(1));
  bool taken = true;
  {
    std::jthread producer([&] { taken = queue.push(2); });
    give_others_time();
    queue.close();
  }
  CHECK_FALSE(taken);
  CHECK(queue.size() == 1);
}

TEST_CASE("close wakes every thread that waits to pop") {
  BlockingQueue<int> queue(1);
  std::atomic<int> ended = 0;
  {
    std::vector<std::jthread> consumers;
    for (int i = 0; i < 3; ++i) {
      consumers.emplace_back([&] {
        if (!queue.pop()) ++ended;
      });
    }
    give_others_time();
    queue.close();
  }
  CHECK(ended == 3);
}

TEST_CASE("a closed queue returns what it holds, accepts nothing, and then ends") {
  BlockingQueue<int> queue(4);
  queue.push(1);
  queue.push(2);
  queue.close();
  queue.close();
  CHECK_FALSE(queue.push(3));
  CHECK(queue.pop() == 1);
  CHECK(queue.pop() == 2);
  CHECK_FALSE(queue.pop().has_value());
  CHECK_FALSE(queue.pop().has_value());
}

TEST_CASE("items that can only be moved pass through") {
  BlockingQueue<std::unique_ptr<int>> queue(1);
  queue.push(std::make_unique<int>(5));
  CHECK(**queue.pop() == 5);
}

TEST_CASE("many producers and consumers lose and repeat nothing, and the bound is kept") {
  constexpr int kProducers = 4, kConsumers = 3, kItems = 2000;
  constexpr std::size_t kCapacity = 5;
  BlockingQueue<int> queue(kCapacity);
  std::vector<std::vector<int>> received(kConsumers);
  std::atomic<bool> bound_held = true;
  {
    std::vector<std::jthread> consumers;
    for (auto& mine : received) {
      consumers.emplace_back([&queue, &mine, &bound_held] {
        while (const auto item = queue.pop()) {
          mine.push_back(*item);
          if (queue.size() > kCapacity) bound_held = false;
        }
      });
    }
    {
      std::vector<std::jthread> producers;
      for (int p = 0; p < kProducers; ++p) {
        producers.emplace_back([&queue, p] {
          for (int i = 0; i < kItems; ++i) queue.push(p * kItems + i);
        });
      }
    }
    queue.close();
  }
  std::vector<int> times_seen(kProducers * kItems);
  for (const auto& mine : received) {
    for (const int item : mine) ++times_seen[static_cast<std::size_t>(item)];
  }
  CHECK(times_seen == std::vector<int>(kProducers * kItems, 1));
  CHECK(bound_held);
}
