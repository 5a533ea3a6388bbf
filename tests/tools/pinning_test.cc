#include "tools/pinning.h"

#include <set>
#include <thread>

#include "tests/support/catch.h"

namespace distmnist {
namespace {

TEST_CASE("workers of one host get different cores among the usable ones") {
  const std::vector<int> usable = {1, 2, 5, 6, 7};
  std::set<int> taken;
  for (int place = 0; place < 2; ++place) {
    const std::vector<int> cores = cores_of_worker(usable, 2, place, 2);
    REQUIRE(cores.size() == 2);
    for (const int core : cores) {
      CHECK(std::set<int>(usable.begin(), usable.end()).contains(core));
      CHECK(taken.insert(core).second);
    }
  }
}

TEST_CASE("workers that would leave cores idle are not pinned") {
  const std::vector<int> usable = {0, 1, 2, 3, 4, 5, 6, 7};
  CHECK(cores_of_worker(usable, 2, 0, 3).empty());  // another job on this host would be pinned to the same six cores
  CHECK(cores_of_worker(usable, 2, 0, 4) == std::vector<int>{0, 1, 2, 3});
  CHECK(cores_of_worker(usable, 3, 1, 2) == std::vector<int>{2, 3});  // 8 / 3, as by default
  CHECK(cores_of_worker(usable, 3, 1, 1).empty());
}

TEST_CASE("a single worker, or more workers than cores, are not pinned") {
  CHECK(cores_of_worker({0, 1, 2, 3}, 1, 0, 2).empty());
  CHECK(cores_of_worker({0, 1}, 3, 2, 1).empty());
  CHECK(cores_of_worker({0, 1, 2}, 2, 1, 2).empty());
  CHECK(cores_of_worker({}, 2, 1, 1).empty());
}

TEST_CASE("a pinned thread and the threads it starts run only on its cores, and others are not affected") {
  const std::vector<int> before = usable_cores();
  REQUIRE_FALSE(before.empty());
  std::vector<int> own, of_child;
  std::thread([&] {
    REQUIRE(pin_thread({before.back()}));
    own = usable_cores();
    std::thread([&] { of_child = usable_cores(); }).join();
  }).join();
  CHECK(own == std::vector<int>{before.back()});
  CHECK(of_child == own);
  CHECK(usable_cores() == before);
}

}  // namespace
}  // namespace distmnist
