#include "lib/base/watchdog.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "lib/base/clock.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

// Waits until the condition holds, or for a minute.
template <class Condition>
bool eventually(const Condition& condition) {
  for (const TimeMs began = monotonic_ms(); monotonic_ms() - began < 60'000;) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace

TEST_CASE("a computation is stuck after 10 times the median, and at least after stuck_ms") {
  CHECK(stuck_after(60'000, 30) == 60'000);
  CHECK(stuck_after(60'000, 6'000) == 60'000);
  CHECK(stuck_after(60'000, 6'001) == 60'010);
  CHECK(stuck_after(60'000, std::nullopt) == 600'000);  // the first one may have to start a device
}

TEST_CASE("the median is that of the last 31 values") {
  RecentMedian median;
  CHECK_FALSE(median.value());
  median.add(7);
  CHECK(median.value() == 7);
  median.add(1);
  median.add(100);
  CHECK(median.value() == 7);
  for (int i = 0; i < 16; ++i) median.add(1000);
  CHECK(median.value() == 1000);
  for (int i = 0; i < 31; ++i) median.add(2);
  CHECK(median.value() == 2);
}

TEST_CASE("a computation without progress is reported until it goes on, and given up once") {
  std::atomic<int> given_up = 0;
  std::atomic<std::int64_t> step = 0;
  Watchdog watchdog({.stuck_ms = 200, .give_up_ms = 300, .give_up = [&](const Stuck& stuck) {
                       ++given_up;
                       step = stuck.step;
                     }});
  watchdog.begin(3);
  watchdog.end();
  watchdog.begin(4);
  REQUIRE(eventually([&] { return watchdog.stuck().has_value(); }));
  CHECK(watchdog.stuck()->step == 4);
  CHECK(watchdog.stuck()->for_ms >= 200);
  REQUIRE(eventually([&] { return given_up == 1; }));
  CHECK(step == 4);
  watchdog.beat();
  CHECK(eventually([&] { return !watchdog.stuck(); }));
  CHECK(eventually([&] { return watchdog.stuck().has_value(); }));
  watchdog.rest();
  CHECK(eventually([&] { return !watchdog.stuck(); }));
  CHECK(given_up == 1);
}

TEST_CASE("a thread that waits for others is stuck when it does not beat") {
  Watchdog watchdog({.stuck_ms = 1'000, .give_up_ms = 600'000, .give_up = {}});
  watchdog.begin(1);
  watchdog.end();
  for (int i = 0; i < 30; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    watchdog.beat();
    CHECK_FALSE(watchdog.stuck());
  }
  CHECK(eventually([&] { return watchdog.stuck().has_value(); }));
}

TEST_CASE("a thread that rests is not watched") {
  Watchdog watchdog({.stuck_ms = 100, .give_up_ms = 100, .give_up = {}});
  watchdog.begin(1);
  watchdog.end();
  watchdog.rest();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  CHECK_FALSE(watchdog.stuck());
}

}  // namespace distmnist
