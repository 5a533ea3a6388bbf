#include "lib/base/text_table.h"

#include "lib/base/counted.h"
#include "tests/support/catch.h"

using namespace distmnist;

TEST_CASE("columns are aligned, and no line ends in spaces") {
  CHECK(aligned({{"device", "name", "memory"}, {"/gpu:0", "A long name", "8 GiB"}, {"/gpu:1", "B", "16 GiB"}}) ==
        std::vector<std::string>{"device  name         memory", "/gpu:0  A long name  8 GiB",
                                 "/gpu:1  B            16 GiB"});
}

TEST_CASE("a short row's last cell extends over the missing columns") {
  CHECK(aligned({{"a", "b", "c"}, {"long", "a sentence about it"}, {}}) ==
        std::vector<std::string>{"a     b  c", "long  a sentence about it", ""});
}

TEST_CASE("a number is followed by its noun in singular or plural") {
  CHECK(counted(0, "thread") == "0 threads");
  CHECK(counted(1, "thread") == "1 thread");
  CHECK(counted(2, "thread") == "2 threads");
}
