#include "lib/base/thread_pool.h"

#include <algorithm>
#include <array>
#include <atomic>
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

TEST_CASE("a part stays in its thread, the first one in the caller's thread") {
  ThreadPool pool(3);
  std::array<std::set<std::thread::id>, 3> threads;
  for (int round = 0; round < 20; ++round) {
    pool.run([&](int part) { threads[static_cast<std::size_t>(part)].insert(std::this_thread::get_id()); });
  }
  for (const auto& of_part : threads) CHECK(of_part.size() == 1);
  CHECK(threads[0].contains(std::this_thread::get_id()));
  CHECK(*threads[1].begin() != *threads[2].begin());
}

TEST_CASE("pieces cover everything once, and none waits for a busy thread") {
  for (const int size : {1, 2, 3}) {
    ThreadPool pool(size);
    for (const std::int64_t unit : {1, 7, 1000}) {
      std::vector<std::atomic<int>> worked_on(101);
      pool.run_pieces(101, unit, [&](int part, const Share& piece) {
        if (part < 0 || part >= size || piece.begin % unit != 0 || piece.size() > unit || piece.size() < 1) return;
        for (std::int64_t i = piece.begin; i < piece.end; ++i) ++worked_on[static_cast<std::size_t>(i)];
      });
      CHECK(std::ranges::all_of(worked_on, [](const std::atomic<int>& times) { return times == 1; }));
    }
    pool.run_pieces(0, 4, [](int, const Share&) { FAIL("a piece of nothing"); });
  }
  ThreadPool pool(2);
  std::array<int, 2> pieces{};
  pool.run_pieces(100, 1, [&](int part, const Share& piece) {
    // The thread with the first piece stays busy until the other thread has done all later pieces.
    ++pieces[static_cast<std::size_t>(part)];
    if (piece.begin > 0) return;
    const int other = 1 - part;
    while (std::atomic_ref(pieces[static_cast<std::size_t>(other)]).load() < 99) std::this_thread::yield();
  });
  CHECK(pieces[0] + pieces[1] == 100);
  CHECK(std::min(pieces[0], pieces[1]) == 1);
}

TEST_CASE("sleeping threads are woken, and wake the thread that waits for them") {
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

TEST_CASE("a pool can be closed at once, used or unused") {
  for (int round = 0; round < 50; ++round) {
    ThreadPool pool(3);
    if (round % 2 == 0) pool.run([](int) {});
  }
}

TEST_CASE("shares are consecutive, cover everything and end at whole units") {
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
