#include "lib/ps/server/recent.h"

#include <string>

#include "tests/support/catch.h"

using namespace distmnist;

TEST_CASE("the oldest key is forgotten when there are more than the limit") {
  Recent<int, std::string> recent(2);
  recent.remember(1, "one");
  recent.remember(2, "two");
  REQUIRE(recent.find(1) != nullptr);
  CHECK(*recent.find(1) == "one");
  recent.remember(3, "three");
  CHECK(recent.find(1) == nullptr);
  CHECK(*recent.find(2) == "two");
  CHECK(*recent.find(3) == "three");
}

TEST_CASE("entries can have costs with a limit on their sum; the last entry is always kept") {
  Recent<int, std::string> recent(10);
  recent.remember(1, "one", 4);
  recent.remember(2, "two", 4);
  recent.remember(3, "three", 4);
  CHECK(recent.find(1) == nullptr);
  CHECK(recent.find(2) != nullptr);
  recent.remember(4, "four", 100);
  CHECK(recent.find(3) == nullptr);
  CHECK(recent.find(4) != nullptr);
  recent.remember(5, "five", 1);
  CHECK(recent.find(4) == nullptr);
  CHECK(recent.find(5) != nullptr);
}

TEST_CASE("a repeated key keeps its value and age and takes no additional place") {
  Recent<int, std::string> recent(2);
  recent.remember(1, "one");
  recent.remember(2, "two");
  recent.remember(1, "another");
  CHECK(*recent.find(1) == "one");
  CHECK(*recent.find(2) == "two");
  recent.remember(3, "three");
  CHECK(recent.find(1) == nullptr);
  CHECK(*recent.find(2) == "two");
}
