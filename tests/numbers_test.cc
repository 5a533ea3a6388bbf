#include "lib/wire/numbers.h"

#include <cmath>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

using Floats = std::vector<float>;

constexpr WireDtype kDtypes[] = {WireDtype::kF32, WireDtype::kBf16, WireDtype::kF16};

// What is left of them on the wire.
Floats after_the_wire(WireDtype dtype, const Floats& values) {
  const Frame frame = trace::frame_of(values, dtype);
  Floats out(values.size());
  read_numbers({dtype, frame.bytes()}, out);
  return out;
}

}  // namespace

TEST_CASE("types of numbers are known by their names") {
  for (const WireDtype dtype : kDtypes) {
    CHECK(is_number(dtype));
    CHECK(parse_wire_dtype(to_string(dtype)) == dtype);
  }
  CHECK_FALSE(is_number(WireDtype::kNone));
  CHECK_FALSE(is_number(WireDtype::kRecord));
  for (const char* name : {"", "F32", "none", "record", "fp16"}) {
    CHECK(fails_with(ExitCode::kUsage, "f32, bf16 or f16", [&] { parse_wire_dtype(name); }));
  }
}

TEST_CASE("float32 arrives as it is, the others rounded to their precision") {
  const Floats values = {1, -2.5f, 1 + 1.0f / 1024, 1 + 1.0f / 65536, 3e-5f, 1e30f};
  CHECK(after_the_wire(WireDtype::kF32, values) == values);
  CHECK(after_the_wire(WireDtype::kBf16, values)[2] == 1);
  CHECK(after_the_wire(WireDtype::kF16, values)[2] == values[2]);
  CHECK(after_the_wire(WireDtype::kF16, values)[3] == 1);
  CHECK(after_the_wire(WireDtype::kF16, values)[5] == INFINITY);  // Not a number that is merely smaller.
}

TEST_CASE("a gradient that is no number stays none on its way") {
  for (const WireDtype dtype : kDtypes) {
    const Floats arrived = after_the_wire(dtype, {NAN, INFINITY, -INFINITY});
    CHECK(std::isnan(arrived[0]));
    CHECK(arrived[1] == INFINITY);
    CHECK(arrived[2] == -INFINITY);
  }
}

TEST_CASE("numbers are added in float32, and a slice of them is where it says") {
  for (const WireDtype dtype : kDtypes) {
    const Frame frame = trace::frame_of(Floats{1, 2, 3, 4}, dtype);
    const Numbers numbers{dtype, frame.bytes()};
    CHECK(numbers.size() == 4);
    Floats sum = {0.0001f, 0.5f};
    add_numbers(numbers.slice(1, 2), sum);
    CHECK(sum == Floats{2.0001f, 3.5f});
  }
}

}  // namespace distmnist
