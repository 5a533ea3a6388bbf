#include "lib/backend/cuda/kernels/elementwise.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "lib/backend/dropout_mask.h"
#include "tests/support/catch.h"
#include "tests/support/cuda_on_host/device_tensor.h"

using namespace distmnist;
using namespace distmnist::cuda;

namespace {

struct Batch4 {
  Shape shape;
  std::int64_t batch;

  std::int64_t size() const { return batch * shape.size(); }
};

// Images with odd sizes, and flat samples with more and fewer numbers than a block has threads.
Batch4 any_batch() {
  return GENERATE(values<Batch4>(
      {{{5, 7, 9}, 3}, {{1, 28, 28}, 3}, {{32, 5, 3}, 1}, {{500, 1, 1}, 50}, {{10, 1, 1}, 50}, {{1, 1, 1}, 1}}));
}

std::vector<float> floats(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

// Rounds to nearest, ties to even, with integer arithmetic.
float rounded_to_bf16(float number) {
  const auto bits = std::bit_cast<std::uint32_t>(number);
  return std::bit_cast<float>((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000U);
}

}  // namespace

TEST_CASE("a bias is added to its channel, and relu clips at zero") {
  const Batch4 each = any_batch();
  const bool relu = GENERATE(true, false);
  const bool with_bias = GENERATE(true, false);
  const std::vector<double> x = random_numbers(each.size(), 1), bias = random_numbers(each.shape.channels, 2);
  const MarkedArray<float> device_bias(floats(bias));
  std::vector<double> expected = x;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (with_bias) expected[i] += bias[i / (each.shape.height * each.shape.width) % each.shape.channels];
    if (relu) expected[i] = std::max(expected[i], 0.0);
  }
  for_each_kind([&](NumberType type, Layout layout) {
    const DeviceTensor tensor(type, layout, each.batch, each.shape, x);
    bias_activation(nullptr, tensor.view(), with_bias ? device_bias.data() : nullptr, relu);
    CHECK(worst_error(tensor.fetch(), expected) < tolerance(type));
  });
}

TEST_CASE("a gradient passes relu where the output is above zero") {
  const Batch4 each = any_batch();
  std::vector<double> y = random_numbers(each.size(), 3);
  for (double& number : y) number = std::max(number, 0.0);
  const std::vector<double> dy = random_numbers(each.size(), 4);
  std::vector<double> expected = dy;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (!(y[i] > 0)) expected[i] = 0;
  }
  for_each_kind([&](NumberType y_type, Layout y_layout) {
    const DeviceTensor output(y_type, y_layout, each.batch, each.shape, y);
    for_each_kind([&](NumberType dy_type, Layout dy_layout) {
      const DeviceTensor gradient(dy_type, dy_layout, each.batch, each.shape, dy);
      for_each_kind([&](NumberType dx_type, Layout dx_layout) {
        const DeviceTensor result(dx_type, dx_layout, each.batch, each.shape);
        relu_backward(nullptr, output.view(), gradient.view(), result.view());
        CHECK(result.fetch() == expected);
      });
      relu_backward(nullptr, output.view(), gradient.view(), gradient.view());
      CHECK(gradient.fetch() == expected);
    });
  });
}

TEST_CASE("a bias gradient is summed over the batch, with and without relu") {
  const std::int64_t batch = GENERATE(1, 3, 50, 100);
  const std::int64_t channels = GENERATE(1, 10, 17, 500);
  const bool relu = GENERATE(true, false);
  const Shape shape{channels, 1, 1};
  const std::vector<double> y = random_numbers(batch * channels, 5), dy = random_numbers(batch * channels, 6);
  std::vector<double> expected = dy, sums(channels, 0.0);
  for (std::size_t i = 0; i < dy.size(); ++i) {
    if (relu && !(y[i] > 0)) expected[i] = 0;
    sums[i % channels] += expected[i];
  }
  for (const NumberType y_type : {NumberType::kF32, NumberType::kBf16}) {
    for_each_kind([&](NumberType dy_type, Layout layout) {
      const DeviceTensor output(y_type, layout, batch, shape, y), gradient(dy_type, layout, batch, shape, dy);
      const MarkedArray<float> device_sums(sums.size());
      if (relu) {
        relu_backward_and_sums(nullptr, output.view(), gradient.view(), device_sums.data());
      } else {
        batch_sums(nullptr, gradient.view(), device_sums.data());
      }
      CHECK(gradient.fetch() == expected);
      CHECK(to_doubles(device_sums.fetch()) == sums);
    });
  }
}

TEST_CASE("dropout keeps the same numbers as the host's mask") {
  const Batch4 each = any_batch();
  const std::uint64_t first_sample = GENERATE(std::uint64_t{0}, std::uint64_t{123'456'789'012});
  const float keep_prob = GENERATE(0.5f, 0.8f);
  const CompileOptions options{.seed = 9, .stream = 4};
  const Dropout layer{
      .scope = "dropout", .input = each.shape, .output = each.shape, .keep_prob = keep_prob, .stream = 2};
  std::vector<float> mask(each.size());
  fill_dropout_mask(options, layer, first_sample, mask);
  const std::vector<double> x = random_numbers(each.size(), 7);
  std::vector<double> expected = x;
  for (std::size_t i = 0; i < x.size(); ++i) expected[i] *= mask[i];

  const DropoutRule rule{.seed = mix64(options.seed) ^ options.stream, .stream = layer.stream, .keep_prob = keep_prob};
  const MarkedArray<StepScalars> current(std::vector<StepScalars>{{.first_sample = first_sample}});
  for_each_kind([&](NumberType x_type, Layout x_layout) {
    const DeviceTensor from(x_type, x_layout, each.batch, each.shape, x);
    for_each_kind([&](NumberType y_type, Layout y_layout) {
      const DeviceTensor to(y_type, y_layout, each.batch, each.shape);
      dropout(nullptr, {rule, current.data(), from.view(), to.view()});
      CHECK(worst_error(to.fetch(), expected) < tolerance(y_type));
    });
    dropout(nullptr, {rule, current.data(), from.view(), from.view()});
    CHECK(worst_error(from.fetch(), expected) < tolerance(x_type));
  });
}

TEST_CASE("numbers are converted from any type and layout to any other") {
  const Batch4 each = any_batch();
  const std::vector<double> x = random_numbers(each.size(), 8);
  for_each_kind([&](NumberType x_type, Layout x_layout) {
    const DeviceTensor from(x_type, x_layout, each.batch, each.shape, x);
    for_each_kind([&](NumberType y_type, Layout y_layout) {
      const DeviceTensor to(y_type, y_layout, each.batch, each.shape);
      convert(nullptr, from.view(), to.view());
      CHECK(to.fetch() == x);
    });
  });
}

TEST_CASE("images become flat samples in CHW order, and flat samples become images") {
  const Shape shape = GENERATE(Shape{5, 3, 4}, Shape{64, 7, 7}, Shape{1, 4, 4});
  const Shape flat{shape.size(), 1, 1};
  const std::vector<double> x = random_numbers(3 * shape.size(), 9);
  for_each_kind([&](NumberType x_type, Layout x_layout) {
    for_each_kind([&](NumberType y_type, Layout y_layout) {
      const DeviceTensor image(x_type, x_layout, 3, shape, x), flattened(y_type, y_layout, 3, flat);
      convert(nullptr, image.view(), flattened.view());
      CHECK(flattened.fetch() == x);
      const DeviceTensor back(x_type, x_layout, 3, shape);
      convert(nullptr, flattened.view(), back.view());
      CHECK(back.fetch() == x);
    });
  });
}

TEST_CASE("images are padded with zeros, and cropped again") {
  const Shape shape{3, 5, 4}, padded{3, 8, 9};
  constexpr Corner kCorner{.top = 1, .left = 3};
  const std::vector<double> x = random_numbers(2 * shape.size(), 10);
  std::vector<double> expected(2 * padded.size(), 0.0);
  for (std::int64_t i = 0; i < std::ssize(x); ++i) {
    const std::int64_t column = i % shape.width, row = i / shape.width % shape.height;
    const std::int64_t plane = i / shape.width / shape.height;
    expected[(plane * padded.height + row + kCorner.top) * padded.width + column + kCorner.left] = x[i];
  }
  for_each_kind([&](NumberType type, Layout layout) {
    const DeviceTensor from(type, layout, 2, shape, x), to(type, layout, 2, padded), back(type, layout, 2, shape);
    pad(nullptr, from.view(), kCorner, to.view());
    CHECK(to.fetch() == expected);
    crop(nullptr, to.view(), kCorner, back.view());
    CHECK(back.fetch() == x);
  });
}

TEST_CASE("filters are packed with their input channels last or unchanged, and unpacked again") {
  const Layout layout = GENERATE(Layout::kNhwc, Layout::kNchw);
  const std::vector<double> filters = random_numbers(7 * 5 * 3 * 2, 11);
  const MarkedArray<float> canonical(floats(filters));
  for (const NumberType type : {NumberType::kF32, NumberType::kBf16}) {
    const FilterPacking packing{.out = 7, .in = 5, .height = 3, .width = 2, .layout = layout, .type = type};
    const DeviceTensor packed(type, layout, packing.out, {packing.in, packing.height, packing.width});
    pack_filters(nullptr, canonical.data(), packing, packed.view().data);
    CHECK(packed.fetch() == filters);
    const MarkedArray<float> back(filters.size());
    unpack_filters(nullptr, packed.view().data, packing, back.data());
    CHECK(to_doubles(back.fetch()) == filters);
  }
}

TEST_CASE("blocks of any size and address are rounded to bfloat16") {
  const std::size_t size = GENERATE(1, 2, 3, 4, 7, 1027);
  const std::size_t shift = GENERATE(0, 1);
  std::vector<float> numbers(size + shift);
  Random random(12, 0);
  // Every fourth number is exactly between two, where rounding goes to the even one.
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(random.uniform() - 0.5f);
    numbers[i] = std::bit_cast<float>(i % 4 == 0 ? (bits & 0xFFFF0000U) | 0x8000U : bits);
  }
  const MarkedArray<float> from(numbers);
  const MarkedArray<__nv_bfloat16> to(size);
  to_bf16(nullptr, from.data() + shift, static_cast<std::int64_t>(size), to.data());
  const std::vector<__nv_bfloat16> rounded = to.fetch();
  for (std::size_t i = 0; i < size; ++i) {
    CHECK(__bfloat162float(rounded[i]) == rounded_to_bf16(numbers[i + shift]));
  }
}

TEST_CASE("blocks of any size and address are added") {
  const std::int64_t size = GENERATE(1, 2, 3, 4, 7, 1027);
  const std::int64_t shift = GENERATE(0, 1);
  const std::vector<double> from = random_numbers(size + shift, 13), into = random_numbers(size + shift, 14);
  const MarkedArray<float> device_from(floats(from)), device_into(floats(into));
  add(nullptr, device_from.data() + shift, size, device_into.data() + shift);
  std::vector<double> expected = into;
  for (std::int64_t i = shift; i < size + shift; ++i) expected[i] += from[i];
  CHECK(to_doubles(device_into.fetch()) == expected);
}
