#include "lib/base/join.h"

#include <vector>

#include "tests/support/catch.h"

namespace distmnist {

TEST_CASE("texts are joined with separators between them only") {
  CHECK(join(std::vector<std::string>{}, ", ").empty());
  CHECK(join(std::vector<std::string>{"a"}, ", ") == "a");
  CHECK(join(std::vector<std::string>{"a", "", "b"}, ", ") == "a, , b");
}

}  // namespace distmnist
