#include "lib/base/thread_pool.h"

#include <array>
#include <chrono>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace distmnist {
namespace {

TEST_CASE("each part is worked on once, and run() waits for all") {
  for (const int size : {1, 2, 3, 7}) {
    ThreadPool pool(size);
    std::vector<int> calls(static_cast<std::size_t>(size), 0);
    for (int round = 1; round <= 500; ++round) {
      pool.run([&](int part) { ++calls[static_cast<std::size_t>(part)]; });
      REQUIRE(calls == std::vector<int>(static_cast<std::size_t>(size), round));
    }
  }
}

TEST_CASE("a part stays in its thread, the first one in the caller's") {
  ThreadPool pool(3);
  std::array<std::set<std::thread::id>, 3> threads;
  for (int round = 0; round < 20; ++round) {
    pool.run([&](int part) { threads[static_cast<std::size_t>(part)].insert(std::this_thread::get_id()); });
  }
  for (const auto& of_part : threads) CHECK(of_part.size() == 1);
  CHECK(threads[0].contains(std::this_thread::get_id()));
  CHECK(*threads[1].begin() != *threads[2].begin());
}

TEST_CASE("threads that have fallen asleep are woken, and wake who waits for them") {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::array<int, 2> seen{};
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    pool.run([&](int part) {
      if (part == 1) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      seen[static_cast<std::size_t>(part)] = 1;
    });
    CHECK(seen == std::array{1, 1});
  }
}

TEST_CASE("a pool is closed at once, used or not") {
  for (int round = 0; round < 50; ++round) {
    ThreadPool pool(3);
    if (round % 2 == 0) pool.run([](int) {});
  }
}

TEST_CASE("shares follow one another, cover everything and end at whole units") {
  for (const std::int64_t size : {0, 1, 5, 50, 64, 101}) {
    for (const int parts : {1, 2, 3, 8}) {
      for (const std::int64_t unit : {1, 16}) {
        std::int64_t next = 0;
        for (int part = 0; part < parts; ++part) {
          const Share share = share_of(size, part, parts, unit);
          REQUIRE(share.begin == next);
          REQUIRE(share.end >= share.begin);
          REQUIRE((share.end == size || share.end % unit == 0));
          REQUIRE(share.size() <= (size / parts / unit + 1) * unit);
          next = share.end;
        }
        REQUIRE(next == size);
      }
    }
  }
}

}  // namespace
}  // namespace distmnist
