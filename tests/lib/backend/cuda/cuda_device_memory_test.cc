#include "lib/backend/cuda/device_memory.h"

#include <optional>

#include "tests/support/catch.h"
#include "tests/support/cuda_on_host/control.h"
#include "tests/support/expect_error.h"

using namespace distmnist;
using cuda::DeviceArray;
using cuda::DeviceMemory;

namespace {

constexpr std::uint64_t kMiB = 1 << 20;

void have_card(std::uint64_t memory_bytes) {
  cuda_on_host::Settings settings;
  settings.memory_bytes = memory_bytes;
  cuda_on_host::reset(settings);
}

bool is_short(const std::string& text, DeviceMemory& memory, std::uint64_t size_bytes) {
  return fails_with(ExitCode::kResources, text, [&] { memory.allocate(size_bytes, "the activations of conv9"); });
}

}  // namespace

TEST_CASE("without a share memory is allocated on demand") {
  have_card(64 * kMiB);
  DeviceMemory first(0, {}), second(0, {});
  const DeviceArray<float> a(first, 5 * kMiB, "a"), b(second, 5 * kMiB, "b");
  CHECK(a.data() != b.data());
  CHECK(first.used_bytes() == 20 * kMiB);
  CHECK(first.limit_bytes() == 64 * kMiB);
}

TEST_CASE("a share is allocated at once, and too little free memory is reported") {
  have_card(64 * kMiB);
  const DeviceMemory first(0, {.fraction = 0.5});
  CHECK(fails_with(ExitCode::kResources, "its share of 48 MiB (0.75 of 64 MiB) is not free, only 32 MiB are",
                   [] { DeviceMemory(0, {.fraction = 0.75}); }));
  const DeviceMemory second(0, {.fraction = 0.25});
}

TEST_CASE("a growing share can lose memory to other processes and is never exceeded") {
  have_card(64 * kMiB);
  DeviceMemory growing(0, {.fraction = 0.5, .allow_growth = true});
  std::optional<DeviceArray<float>> array(std::in_place, growing, 4 * kMiB, "a");
  CHECK(
      is_short("/gpu:0: out of memory: the activations of conv9 take 20.0 MiB, and 16.0 MiB of this process's share of "
               "32.0 MiB are in use; choose a smaller batch, or --per_process_gpu_memory_fraction=0.57 or more",
               growing, 20 * kMiB));
  CHECK(growing.used_bytes() == 16 * kMiB);
  array.reset();
  CHECK(growing.used_bytes() == 0);
  // Returned memory is used again, so the share is large enough.
  for (int i = 0; i < 10; ++i) DeviceArray<float>(growing, 4 * kMiB, "a");
}

TEST_CASE("a full card is reported with its free memory") {
  have_card(64 * kMiB);
  DeviceMemory other(0, {}), own(0, {});
  const DeviceArray<float> taken(other, 12 * kMiB, "a");
  CHECK(
      is_short("the activations of conv9 take 20.0 MiB, this process has 0.0 MiB in use (largest free piece: 0.0 MiB), "
               "and the card has 16.0 of 64.0 MiB left",
               own, 20 * kMiB));
  CHECK(own.allocate(10 * kMiB, "b") != nullptr);  // the failure leaves no error behind
}

TEST_CASE("invalid fractions are refused") {
  have_card(64 * kMiB);
  for (const double fraction : {0.0, -0.5, 1.01}) {
    CHECK(fails_with(ExitCode::kUsage, "a share above 0 and at most 1",
                     [&] { DeviceMemory(0, {.fraction = fraction}); }));
  }
}

TEST_CASE("all memory is returned") {
  have_card(64 * kMiB);
  {
    DeviceMemory memory(0, {});
    DeviceArray<float> moved(memory, 100, "a");
    moved = DeviceArray<float>(memory, 200, "b");
    CHECK(moved.size() == 200);
    CHECK(memory.used_bytes() == 1024);
  }
  CHECK(cuda_on_host::live_allocations() == 0);
}
