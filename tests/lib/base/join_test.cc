#include "lib/base/join.h"

#include <vector>

#include "tests/support/catch.h"

namespace distmnist {

TEST_CASE("texts are joined with separators between them only") {
  CHECK(join(std::vector<std::string>{}, ", ").empty());
  CHECK(join(std::vector<std::string>{"a"}, ", ") == "a");
  CHECK(join(std::vector<std::string>{"a", "", "b"}, ", ") == "a, , b");
}

TEST_CASE("the last of several choices follows an \"or\"") {
  CHECK(join_choices(std::vector<std::string>{}).empty());
  CHECK(join_choices(std::vector<std::string>{"a"}) == "a");
  CHECK(join_choices(std::vector<std::string>{"a", "b"}) == "a or b");
  CHECK(join_choices(std::vector<std::string>{"a", "b", "c"}) == "a, b or c");
}

}  // namespace distmnist
