#include "lib/base/random.h"

#include <set>

#include "tests/support/catch.h"

using distmnist::Random;

TEST_CASE("a stream is a pure function of seed, stream and position") {
  Random a(1, 2), b(1, 2);
  for (std::uint64_t i = 0; i < 100; ++i) {
    const std::uint64_t value = a.next();
    CHECK(value == b.next());
    CHECK(value == Random(1, 2).at(i));
  }
  CHECK(Random(1, 2).at(0) != Random(1, 3).at(0));
  CHECK(Random(1, 2).at(0) != Random(2, 2).at(0));
}

TEST_CASE("below stays in bounds and reaches every value") {
  Random random(7, 0);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random.below(10));
  CHECK(seen.size() == 10);
  CHECK(*seen.rbegin() == 9);
}

TEST_CASE("uniform has the mean and the range of a uniform number") {
  Random random(3, 1);
  double sum = 0;
  for (int i = 0; i < 100000; ++i) {
    const float u = random.uniform();
    REQUIRE(u >= 0.0f);
    REQUIRE(u < 1.0f);
    sum += u;
  }
  CHECK(sum / 100000 == Approx(0.5).margin(0.005));
}
