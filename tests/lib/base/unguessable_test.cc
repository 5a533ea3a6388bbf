#include "lib/base/unguessable.h"

#include <bit>
#include <set>

#include "tests/support/catch.h"

namespace distmnist {

TEST_CASE("unguessable numbers are not 0, differ, and use all their bits") {
  std::set<std::uint64_t> numbers;
  std::uint64_t ones = 0, zeros = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t number = unguessable_number();
    CHECK(number != 0);
    numbers.insert(number);
    ones |= number;
    zeros |= ~number;
  }
  CHECK(numbers.size() == 1000);
  CHECK(std::popcount(ones) == 64);
  CHECK(std::popcount(zeros) == 64);
}

}  // namespace distmnist
