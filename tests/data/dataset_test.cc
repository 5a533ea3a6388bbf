#include "data/dataset.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

using namespace distmnist;

namespace {

// At most 256 images of 1x2 pixels; image i has pixels i and 255 - i, and label i % 10.
ImageSet numbered_images(std::int64_t count) {
  auto pixels = std::make_shared<std::vector<std::uint8_t>>();
  auto labels = std::make_shared<std::vector<std::uint8_t>>();
  for (std::int64_t i = 0; i < count; ++i) {
    pixels->push_back(static_cast<std::uint8_t>(i));
    pixels->push_back(static_cast<std::uint8_t>(255 - i));
    labels->push_back(static_cast<std::uint8_t>(i % 10));
  }
  ImageSet set{.count = count, .height = 1, .width = 2, .pixels = *pixels, .labels = *labels, .owners = {}};
  set.owners = {pixels, labels};
  return set;
}

// The image numbers in a batch of numbered_images.
std::vector<int> numbers(const TrainBatch& batch) {
  std::vector<int> result;
  for (std::size_t i = 0; i < batch.images.size(); i += 2) {
    result.push_back(static_cast<int>(batch.images[i] * 255.0f + 0.5f));
  }
  return result;
}

// The image numbers of the next `batches` batches, or of all that remain.
std::vector<int> take(BatchSource& source, int batches = 1 << 20) {
  std::vector<int> result;
  TrainBatch batch;
  for (int i = 0; i < batches && source.next(batch); ++i) {
    for (const int number : numbers(batch)) result.push_back(number);
  }
  return result;
}

std::vector<int> take_order(std::int64_t count, std::uint64_t seed, std::uint64_t worker, std::int64_t start,
                            std::int64_t size) {
  auto source = batch(repeat(shuffle(slices(numbered_images(count)), seed, worker)), 1, start);
  return take(*source, static_cast<int>(size));
}

std::vector<int> iota(int count) {
  std::vector<int> result(static_cast<std::size_t>(count));
  std::iota(result.begin(), result.end(), 0);
  return result;
}

std::vector<int> part(const std::vector<int>& all, std::ptrdiff_t from, std::ptrdiff_t size) {
  return {all.begin() + from, all.begin() + from + size};
}

std::vector<int> sorted(std::vector<int> values) {
  std::ranges::sort(values);
  return values;
}

// An endless source that counts its batches and can be told to throw.
class Counting : public BatchSource {
 public:
  Counting(std::atomic<int>& made, int throw_at) : made_(made), throw_at_(throw_at) {}
  bool next(TrainBatch& batch) override {
    const int index = made_++;
    if (index == throw_at_) throw std::runtime_error("cannot make batch " + std::to_string(index));
    batch.first_sample = index;
    return true;
  }

 private:
  std::atomic<int>& made_;
  int throw_at_;
};

}  // namespace

TEST_CASE("a batch holds pixels scaled to 0..1, labels and its position") {
  auto source = batch(slices(numbered_images(12)), 5);
  TrainBatch b;
  REQUIRE(source->next(b));
  REQUIRE(source->next(b));
  CHECK(b.first_sample == 5);
  CHECK(b.size == 5);
  CHECK(b.labels == std::vector<std::uint8_t>{5, 6, 7, 8, 9});
  REQUIRE(b.images.size() == 10);
  for (int i = 0; i < 5; ++i) {
    CHECK(b.images[static_cast<std::size_t>(2 * i)] == static_cast<float>(5 + i) / 255.0f);
    CHECK(b.images[static_cast<std::size_t>(2 * i + 1)] == static_cast<float>(250 - i) / 255.0f);
  }
}

TEST_CASE("without repeat the data ends with a smaller last batch") {
  auto source = batch(slices(numbered_images(12)), 5);
  TrainBatch b;
  REQUIRE(source->next(b));
  REQUIRE(source->next(b));
  REQUIRE(source->next(b));
  CHECK(b.first_sample == 10);
  CHECK(b.size == 2);
  CHECK(numbers(b) == std::vector<int>{10, 11});
  CHECK(b.labels == std::vector<std::uint8_t>{0, 1});
  CHECK_FALSE(source->next(b));
  CHECK_FALSE(source->next(b));
}

TEST_CASE("a last batch that is not full can be dropped") {
  auto source = batch(slices(numbered_images(12)), 5, 0, LastBatch::kDropped);
  CHECK(take(*source) == iota(10));
  auto whole = batch(slices(numbered_images(10)), 5, 0, LastBatch::kDropped);
  CHECK(take(*whole) == iota(10));
}

TEST_CASE("shuffle returns every image once in each pass, in a different order each time") {
  constexpr std::int64_t kCount = 100;
  const std::vector<int> all = take_order(kCount, 1, 0, 0, 3 * kCount);
  std::set<std::vector<int>> orders;
  for (int pass = 0; pass < 3; ++pass) {
    const std::vector<int> order = part(all, pass * kCount, kCount);
    CHECK(sorted(order) == iota(kCount));
    orders.insert(order);
  }
  CHECK(orders.size() == 3);
  CHECK(orders.count(iota(kCount)) == 0);
}

TEST_CASE("every order is equally likely") {
  std::map<std::vector<int>, int> times;
  constexpr int kDraws = 6000;
  for (std::uint64_t seed = 0; seed < kDraws; ++seed) ++times[take_order(3, seed, seed % 5, 0, 3)];
  CHECK(times.size() == 6);
  for (const auto& [order, n] : times) CHECK(n == Approx(kDraws / 6).margin(150));  // five standard deviations
}

TEST_CASE("each worker and each seed has its own order, which is the same every time") {
  std::set<std::vector<int>> orders;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    for (std::uint64_t worker = 0; worker < 4; ++worker) {
      const std::vector<int> order = take_order(50, seed, worker, 0, 50);
      CHECK(order == take_order(50, seed, worker, 0, 50));
      orders.insert(order);
    }
  }
  CHECK(orders.size() == 16);
}

TEST_CASE("the order of a seed never changes, because a checkpoint's position would mean different samples") {
  CHECK(take_order(10, 0, 0, 0, 20) == std::vector<int>{9, 7, 4, 1, 2, 0, 8, 5, 3, 6, 8, 3, 4, 9, 6, 2, 5, 1, 7, 0});
}

TEST_CASE("from any position the data continues as if it had been read from the start") {
  constexpr std::int64_t kCount = 23;
  const std::vector<int> all = take_order(kCount, 9, 2, 0, 4 * kCount);
  for (std::int64_t start = 0; start < 3 * kCount; ++start) {
    CHECK(take_order(kCount, 9, 2, start, kCount) == part(all, start, kCount));
  }
}

TEST_CASE("a position after many passes is reached without replaying them") {
  // Replaying 10^16 samples would take far too long.
  constexpr std::int64_t kFar = 10'000'000'000'000'000;
  const std::vector<int> order = take_order(100, 3, 1, kFar, 100);
  CHECK(sorted(order) == iota(100));
  CHECK(take_order(100, 3, 1, kFar + 30, 70) == part(order, 30, 70));
}

TEST_CASE("a batch that crosses the end of a pass is filled from the next pass") {
  auto source = batch(repeat(shuffle(slices(numbered_images(10)), 5, 0)), 4);
  const std::vector<int> expected = take_order(10, 5, 0, 0, 20);
  for (std::int64_t i = 0; i < 5; ++i) {
    TrainBatch b;
    REQUIRE(source->next(b));
    CHECK(b.first_sample == 4 * i);
    CHECK(b.size == 4);
    CHECK(numbers(b) == part(expected, 4 * i, 4));
  }
}

TEST_CASE("repeat can be limited and nested, and each repetition shuffles again") {
  auto counted = repeat(shuffle(slices(numbered_images(10)), 5, 0), 3);
  CHECK(counted->size() == 30);
  auto source = batch(std::move(counted), 7);
  CHECK(take(*source) == take_order(10, 5, 0, 0, 30));
  auto nested = batch(repeat(repeat(shuffle(slices(numbered_images(10)), 5, 0), 2)), 10);
  CHECK(take(*nested, 5) == take_order(10, 5, 0, 0, 50));
  CHECK(repeat(repeat(slices(numbered_images(10))), 2)->size() == kEndless);
}

TEST_CASE("a start position at or after the end produces no batch") {
  TrainBatch b;
  CHECK_FALSE(batch(slices(numbered_images(10)), 5, 10)->next(b));
  CHECK_FALSE(batch(slices(numbered_images(10)), 5, 1000)->next(b));
}

TEST_CASE("a batch size that does not fit the data is a usage error that names both numbers") {
  for (const std::int64_t size : {-1, 0, 11, 1000000}) {
    const auto make = [&] { batch(repeat(slices(numbered_images(10))), size); };
    CHECK(fails_with(ExitCode::kUsage, "batch size " + std::to_string(size), make));
    CHECK(fails_with(ExitCode::kUsage, "10 images", make));
  }
  CHECK_NOTHROW(batch(slices(numbered_images(10)), 10));
  CHECK(fails_with(ExitCode::kUsage, "-5", [] { batch(slices(numbered_images(10)), 1, -5); }));
}

TEST_CASE("prefetch produces the same batches and the same end") {
  for (const int depth : {1, 2, 5}) {
    auto plain = batch(shuffle(slices(numbered_images(103)), 4, 4), 10, 7);
    auto ahead = prefetch(batch(shuffle(slices(numbered_images(103)), 4, 4), 10, 7), depth);
    TrainBatch a, b;
    while (plain->next(a)) {
      REQUIRE(ahead->next(b));
      CHECK(a.first_sample == b.first_sample);
      CHECK(a.size == b.size);
      CHECK(a.images == b.images);
      CHECK(a.labels == b.labels);
    }
    CHECK_FALSE(ahead->next(b));
    CHECK_FALSE(ahead->next(b));
  }
}

TEST_CASE("prefetch reuses a fixed number of buffers") {
  auto source = prefetch(batch(repeat(slices(numbered_images(100))), 10), 2);
  TrainBatch b;
  std::set<const float*> addresses;
  for (int i = 0; i < 200; ++i) {
    REQUIRE(source->next(b));
    addresses.insert(b.images.data());
  }
  CHECK(addresses.size() <= 3);
}

TEST_CASE("prefetch works ahead by its depth and no further") {
  std::atomic<int> made = 0;
  auto source = prefetch(std::make_unique<Counting>(made, -1), 3);
  TrainBatch b;
  for (int i = 0; i < 100; ++i) {
    REQUIRE(source->next(b));
    CHECK(b.first_sample == i);
    CHECK(made <= i + 1 + 3);
  }
}

TEST_CASE("an exception from the input reaches the consumer after the batches before it") {
  std::atomic<int> made = 0;
  auto source = prefetch(std::make_unique<Counting>(made, 5), 2);
  TrainBatch b;
  for (int i = 0; i < 5; ++i) REQUIRE(source->next(b));
  CHECK_THROWS_WITH(source->next(b), "cannot make batch 5");
  CHECK_THROWS_WITH(source->next(b), "cannot make batch 5");
  CHECK(made == 6);
}

TEST_CASE("prefetch can be destroyed at any moment") {
  for (int taken = 0; taken < 50; ++taken) {
    std::atomic<int> made = 0;
    auto source = prefetch(std::make_unique<Counting>(made, -1), 2);
    TrainBatch b;
    for (int i = 0; i < taken; ++i) REQUIRE(source->next(b));
    source.reset();
    CHECK(made <= taken + 3);  // the depth, and at most one more that was in progress
  }
}

TEST_CASE("the sample numbers of a position are the images in the batches at that position") {
  constexpr std::int64_t kCount = 23, kFirst = 17, kBatch = 5;  // crosses the ends of three passes
  std::vector<std::int32_t> samples(12 * kBatch);
  const DatasetPtr order = repeat(shuffle(slices(numbered_images(kCount)), 9, 2));
  fill_samples(*order, kFirst, std::span(samples).first(20));
  fill_samples(*order, kFirst + 20, std::span(samples).subspan(20));
  const auto source = batch(repeat(shuffle(slices(numbered_images(kCount)), 9, 2)), kBatch, kFirst);
  CHECK(std::vector<int>(samples.begin(), samples.end()) == take(*source, 12));
}
