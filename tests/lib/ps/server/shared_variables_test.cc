#include "lib/ps/server/shared_variables.h"

#include <fmt/core.h>

#include "tests/support/catch.h"

using namespace distmnist;

TEST_CASE("init creates a variable once") {
  SharedVariables variables;
  CHECK(variables.init("x", 2.5) == 2.5);
  CHECK(variables.init("x", 7) == 2.5);
  CHECK(variables.get("x") == 2.5);
}

TEST_CASE("add returns the sum and does not create a variable") {
  SharedVariables variables;
  CHECK_FALSE(variables.add("x", 1));
  CHECK_FALSE(variables.get("x"));
  variables.init("x", 1);
  CHECK(variables.add("x", 0.25) == 1.25);
  CHECK(variables.add("x", -2) == -0.75);
  CHECK(variables.get("x") == -0.75);
}

TEST_CASE("the number of variables is limited, and existing ones can be used at the limit") {
  SharedVariables variables;
  for (std::size_t i = 0; i < kMaxSharedVariables; ++i) REQUIRE(variables.init(fmt::format("x{}", i), 1));
  CHECK_FALSE(variables.init("y", 1));
  CHECK(variables.init("x0", 5) == 1);
  CHECK(variables.add("x0", 1) == 2);
  CHECK(variables.values().size() == kMaxSharedVariables);
}
