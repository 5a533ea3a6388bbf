#include "lib/ps/records/names.h"

#include "tests/support/catch.h"

using namespace distmnist;

TEST_CASE("letters, digits and . _ - / are valid in a name") {
  CHECK(is_name("a"));
  CHECK(is_name("run-7/conv1.weights_2"));
  CHECK(is_name(std::string(kMaxNameBytes, 'Z')));
}

TEST_CASE("an empty text and characters that could break a list or a line are invalid") {
  for (const std::string text : {"", "a b", "a,b", "a\nb", "a:b", "\"", "\xC3\xA4"}) {
    CAPTURE(text);
    CHECK_FALSE(is_name(text));
  }
  CHECK_FALSE(is_name(std::string_view("a\0b", 3)));
  CHECK_FALSE(is_name(std::string(kMaxNameBytes + 1, 'a')));
}

TEST_CASE("the default container has no name") {
  CHECK(is_container_name(""));
  CHECK(is_container_name("a"));
  CHECK_FALSE(is_container_name("a b"));
  CHECK(container_title("") == "the default container");
  CHECK(container_title("a") == "container 'a'");
}

TEST_CASE("the text of the rule contains its limit") {
  CHECK(name_rule() == "a name is 1 to 255 letters, digits and . _ - /");
}
