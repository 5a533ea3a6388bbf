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

// The values after encoding and decoding.
Floats after_the_wire(WireDtype dtype, const Floats& values) {
  const Frame frame = trace::frame_of(values, dtype);
  Floats out(values.size());
  read_numbers({dtype, frame.bytes()}, out);
  return out;
}

}  // namespace

TEST_CASE("number types are read by name") {
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

TEST_CASE("float32 arrives unchanged, other types are rounded to their precision") {
  const Floats values = {1, -2.5f, 1 + 1.0f / 1024, 1 + 1.0f / 65536, 3e-5f, 1e30f};
  CHECK(after_the_wire(WireDtype::kF32, values) == values);
  CHECK(after_the_wire(WireDtype::kBf16, values)[2] == 1);
  CHECK(after_the_wire(WireDtype::kF16, values)[2] == values[2]);
  CHECK(after_the_wire(WireDtype::kF16, values)[3] == 1);
  CHECK(after_the_wire(WireDtype::kF16, values)[5] == INFINITY);  // not the largest finite number
}

TEST_CASE("NaN in a gradient stays NaN in transit") {
  for (const WireDtype dtype : kDtypes) {
    const Floats arrived = after_the_wire(dtype, {NAN, INFINITY, -INFINITY});
    CHECK(std::isnan(arrived[0]));
    CHECK(arrived[1] == INFINITY);
    CHECK(arrived[2] == -INFINITY);
  }
}

TEST_CASE("a gradient can be applied if all its numbers are finite and can be squared, with a wide margin") {
  const auto may = [](WireDtype dtype, const Floats& values) {
    const Frame frame = trace::frame_of(values, dtype);
    const bool good = may_be_applied({dtype, frame.bytes()});
    CHECK(first_bad_number({dtype, frame.bytes()}).has_value() == !good);
    return good;
  };
  for (const WireDtype dtype : kDtypes) {
    CAPTURE(to_string(dtype));
    CHECK(may(dtype, {}));
    CHECK(may(dtype, {0, -1, 1e-40f, 65504}));
    for (const float bad : {NAN, INFINITY, -INFINITY, 1e22f, -3e38f}) CHECK_FALSE(may(dtype, {1, 2, bad}));
    CHECK(may(dtype, {70000, 9e14f}) == (dtype != WireDtype::kF16));
    CHECK(may(dtype, {1.1e15f}) == false);
  }
  CHECK(may(WireDtype::kF32, {1e15f, -1e15f}));
  CHECK_FALSE(may(WireDtype::kF32, {std::nextafter(1e15f, INFINITY)}));
}

TEST_CASE("the first number that must not be applied is named with its position") {
  const auto first = [](WireDtype dtype, const Floats& values) {
    const Frame frame = trace::frame_of(values, dtype);
    return first_bad_number({dtype, frame.bytes()}).value();
  };
  CHECK(first(WireDtype::kF32, {1, -NAN, INFINITY}).text == "nan");
  CHECK(first(WireDtype::kBf16, {1, 2, -INFINITY}).index == 2);
  CHECK(first(WireDtype::kF16, {1e6f}).text == "infinity");
  CHECK(first(WireDtype::kF32, {0, 1e22f}).text == "1e+22 (beyond 1e+15)");
}

TEST_CASE("numbers are added in float32, and a slice starts at the given position") {
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
