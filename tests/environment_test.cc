#include "tools/environment.h"

#include "tests/support/catch.h"

using namespace distmnist;

TEST_CASE("an empty CUDA_VISIBLE_DEVICES, or one that starts with -1, hides all GPUs") {
  CHECK(hides_all_gpus(""));
  CHECK(hides_all_gpus("-1"));
  CHECK(hides_all_gpus("-1,0"));
}

TEST_CASE("without CUDA_VISIBLE_DEVICES, or with one that names GPUs, some are left") {
  CHECK_FALSE(hides_all_gpus(nullptr));
  CHECK_FALSE(hides_all_gpus("0"));
  CHECK_FALSE(hides_all_gpus("1,-1"));
  CHECK_FALSE(hides_all_gpus("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"));
}
