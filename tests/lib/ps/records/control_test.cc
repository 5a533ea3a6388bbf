#include "lib/ps/records/control.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "lib/base/bytes.h"
#include "lib/base/random.h"
#include "tests/support/catch.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

using Bytes = std::vector<std::byte>;

template <class Record>
Bytes bytes_of_record(const Record& record) {
  const Frame frame = encode(record);
  return {frame.bytes().begin(), frame.bytes().end()};
}

HelloRecord sample_hello() {
  return {"box", true, 3, 2, 1, {{"--model", "mnist_cnn"}, {"--batch_size", "50"}}, 832};
}
WelcomeRecord sample_welcome() {
  return {ModelState::kReady, 2, {1, 3}};
}
RefuseRecord sample_refuse() {
  return {5, "the versions differ"};
}
CreateRecord sample_create() {
  CreateRecord record;
  record.pieces = {{"conv1/weights", {0, 800}}, {"conv1/biases", {800, 32}}};
  record.optimizer = {.kind = OptimizerKind::kRmsprop,
                      .learning_rate = 0.25f,
                      .momentum = 0.5f,
                      .nesterov = true,
                      .beta1 = 0.75f,
                      .beta2 = 0.875f,
                      .decay = 0.625f,
                      .epsilon = 0.125f};
  record.optimizer.learning_rate.schedule = LearningRateSchedule::kCosine;
  record.optimizer.learning_rate.decay_steps = 1000;
  record.optimizer.learning_rate.decay_rate = 0.375f;
  record.optimizer.learning_rate.warmup_steps = 30;
  record.strategy.sync = true;
  record.strategy.replicas_to_aggregate = 3;
  record.strategy.on_lost_worker = OnLostWorker::kFail;
  record.strategy.staleness = StalenessPolicy::kScale;
  record.strategy.drop_above = 4;
  record.strategy.max_staleness = 5;
  record.strategy.warmup_steps = 6;
  record.strategy.train_steps = 700;
  record.strategy.on_nan = OnNan::kSkip;
  record.global_step = 42;
  record.progress = {77, {{0, 1000}, {2, 1100}}, {1}};
  return record;
}
std::vector<Update> sample_updates() {
  return {{8, {{0, {7, 3}}, {1, {9, 1}}}, 1}, {9, {{2, {8, 4}}}, 0.5f}};
}
SnapshotRecord sample_snapshot() {
  return {{78, {{0, 250}, {1, 300}}, {0}}};
}
UpdatesRecord sample_update_list() {
  return {sample_updates(), 77};
}
TokenRecord sample_token() {
  return {false, 3, 250, 1500, sample_updates(), false};
}
NoticeRecord sample_notice() {
  return {"waiting for worker:2"};
}

// Writes little-endian numbers one after another, to build records as an attacker would.
class Forge {
 public:
  template <class T>
  Forge& put(T value) {
    const auto bytes = to_little_endian(value);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  Forge& text(std::string_view text) {
    put(static_cast<std::uint32_t>(text.size()));
    for (const char c : text) bytes_.push_back(static_cast<std::byte>(c));
    return *this;
  }
  const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

constexpr std::uint8_t kLittleEndian = 1;  // the first byte of every record

// Decodes `bytes` as each kind of record and returns how many kinds accepted them.
int decode_as_all(const Bytes& bytes) {
  return decode<HelloRecord>(bytes).has_value() + decode<WelcomeRecord>(bytes).has_value() +
         decode<RefuseRecord>(bytes).has_value() + decode<CreateRecord>(bytes).has_value() +
         decode<SnapshotRecord>(bytes).has_value() + decode<UpdatesRecord>(bytes).has_value() +
         decode<TokenRecord>(bytes).has_value() + decode<NoticeRecord>(bytes).has_value();
}

void check_same(const RunProgress& actual, const RunProgress& expected) {
  CHECK(actual.run_id == expected.run_id);
  CHECK(actual.consumed_samples == expected.consumed_samples);
  CHECK(actual.done == expected.done);
}

template <class Record>
void check_only_whole(const Record& record) {
  const Bytes good = bytes_of_record(record);
  REQUIRE(decode<Record>(good).has_value());
  for (std::size_t size = 0; size < good.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(decode<Record>(std::span(good).first(size)).has_value());
  }
  Bytes longer = good;
  longer.push_back(std::byte{0});
  CHECK_FALSE(decode<Record>(longer).has_value());
}

}  // namespace

TEST_CASE("records come back as they were sent") {
  const auto hello = decode<HelloRecord>(bytes_of_record(sample_hello()));
  REQUIRE(hello);
  CHECK(hello->container == "box");
  CHECK(hello->chief);
  CHECK(hello->num_workers == 3);
  CHECK(hello->num_ps == 2);
  CHECK(hello->ps_index == 1);
  CHECK(hello->fingerprint == sample_hello().fingerprint);
  CHECK(hello->num_parameters == 832);

  const auto welcome = decode<WelcomeRecord>(bytes_of_record(sample_welcome()));
  REQUIRE(welcome);
  CHECK(welcome->state == ModelState::kReady);

  const auto refuse = decode<RefuseRecord>(bytes_of_record(sample_refuse()));
  REQUIRE(refuse);
  CHECK(refuse->exit_code == 5);
  CHECK(refuse->reason == "the versions differ");

  const auto create = decode<CreateRecord>(bytes_of_record(sample_create()));
  REQUIRE(create);
  REQUIRE(create->pieces.size() == 2);
  CHECK(create->pieces[1].name == "conv1/biases");
  CHECK(create->pieces[1].range == Range{800, 32});
  CHECK(create->optimizer == sample_create().optimizer);
  CHECK(create->strategy == sample_create().strategy);
  CHECK(create->global_step == 42);
  check_same(create->progress, sample_create().progress);

  const auto snapshot = decode<SnapshotRecord>(bytes_of_record(sample_snapshot()));
  REQUIRE(snapshot);
  check_same(snapshot->progress, sample_snapshot().progress);

  const auto updates = decode<UpdatesRecord>(bytes_of_record(sample_update_list()));
  REQUIRE(updates);
  CHECK(updates->updates == sample_updates());
  CHECK(updates->dropped == 77);

  const auto token = decode<TokenRecord>(bytes_of_record(sample_token()));
  REQUIRE(token);
  CHECK_FALSE(token->accepted);
  CHECK(token->staleness == 3);
  CHECK(token->waited_ms == 250);
  CHECK(token->consumed_samples == 1500);
  CHECK(token->updates == sample_updates());
  CHECK_FALSE(token->finite);

  const auto notice = decode<NoticeRecord>(bytes_of_record(sample_notice()));
  REQUIRE(notice);
  CHECK(notice->text == "waiting for worker:2");
}

TEST_CASE("a record has the layout in docs/protocol.md") {
  const Bytes hello = Forge()
                          .put(kLittleEndian)
                          .text("box")
                          .put(std::uint8_t{1})
                          .put(std::uint32_t{3})
                          .put(std::uint32_t{2})
                          .put(std::uint32_t{1})
                          .put(std::uint32_t{2})
                          .text("--model")
                          .text("mnist_cnn")
                          .text("--batch_size")
                          .text("50")
                          .put(std::int64_t{832})
                          .bytes();
  CHECK(bytes_of_record(sample_hello()) == hello);

  const Bytes create = Forge()
                           .put(kLittleEndian)
                           .put(std::uint32_t{2})
                           .text("conv1/weights")
                           .put(std::int64_t{0})
                           .put(std::int64_t{800})
                           .text("conv1/biases")
                           .put(std::int64_t{800})
                           .put(std::int64_t{32})
                           .put(std::uint8_t{4})  // rmsprop
                           .put(std::uint8_t{3})  // cosine
                           .put(0.25f)
                           .put(std::int64_t{1000})
                           .put(0.375f)
                           .put(std::int64_t{30})
                           .put(0.5f)
                           .put(std::uint8_t{1})  // nesterov
                           .put(0.75f)
                           .put(0.875f)
                           .put(0.625f)
                           .put(0.125f)
                           .put(std::uint8_t{1})
                           .put(std::uint32_t{3})
                           .put(std::uint8_t{2})
                           .put(std::uint8_t{2})
                           .put(std::int64_t{4})
                           .put(std::int64_t{5})
                           .put(std::int64_t{6})
                           .put(std::int64_t{700})
                           .put(std::uint8_t{1})  // skip
                           .put(std::int64_t{42})
                           .put(std::uint64_t{77})
                           .put(std::uint32_t{2})
                           .put(std::uint32_t{0})
                           .put(std::int64_t{1000})
                           .put(std::uint32_t{2})
                           .put(std::int64_t{1100})
                           .put(std::uint32_t{1})
                           .put(std::uint32_t{1})
                           .bytes();
  CHECK(bytes_of_record(sample_create()) == create);

  const Bytes snapshot = Forge()
                             .put(kLittleEndian)
                             .put(std::uint64_t{78})
                             .put(std::uint32_t{2})
                             .put(std::uint32_t{0})
                             .put(std::int64_t{250})
                             .put(std::uint32_t{1})
                             .put(std::int64_t{300})
                             .put(std::uint32_t{1})
                             .put(std::uint32_t{0})
                             .bytes();
  CHECK(bytes_of_record(sample_snapshot()) == snapshot);

  const Bytes token = Forge()
                          .put(kLittleEndian)
                          .put(std::uint8_t{0})
                          .put(std::int64_t{3})
                          .put(std::uint32_t{250})
                          .put(std::int64_t{1500})
                          .put(std::uint32_t{0})
                          .put(std::uint8_t{1})
                          .bytes();
  CHECK(bytes_of_record(TokenRecord{false, 3, 250, 1500, {}}) == token);
}

TEST_CASE("a truncated record or one with extra bytes is invalid") {
  check_only_whole(sample_hello());
  check_only_whole(sample_welcome());
  check_only_whole(sample_refuse());
  check_only_whole(sample_create());
  check_only_whole(sample_snapshot());
  check_only_whole(sample_update_list());
  check_only_whole(sample_token());
  check_only_whole(sample_notice());
}

TEST_CASE("an announced size is not trusted") {
  // Strings and lists that announce four billion elements without any content.
  const Bytes text = Forge().put(kLittleEndian).put(std::int32_t{5}).put(std::uint32_t{0xFFFFFFFF}).bytes();
  CHECK_FALSE(decode<RefuseRecord>(text));
  const Bytes list = Forge().put(kLittleEndian).put(std::uint32_t{0xFFFFFFFF}).bytes();
  CHECK_FALSE(decode<CreateRecord>(list));
  const Bytes counts = Forge().put(kLittleEndian).put(std::uint64_t{1}).put(std::uint32_t{0xFFFFFFFF}).bytes();
  CHECK_FALSE(decode<SnapshotRecord>(counts));
  CHECK_FALSE(decode<UpdatesRecord>(list));
  CHECK_FALSE(decode<NoticeRecord>(list));
  const Bytes pushes = Forge()
                           .put(kLittleEndian)
                           .put(std::uint32_t{1})
                           .put(std::int64_t{1})
                           .put(1.0f)
                           .put(std::uint32_t{0xFFFFFFFF})
                           .bytes();
  CHECK_FALSE(decode<UpdatesRecord>(pushes));

  // The limit is accepted, and one more is not, although all bytes are present.
  const auto refusal = [](std::size_t size) {
    return Forge().put(kLittleEndian).put(std::int32_t{5}).text(std::string(size, 'x')).bytes();
  };
  CHECK(decode<RefuseRecord>(refusal(4096)).has_value());
  CHECK_FALSE(decode<RefuseRecord>(refusal(4097)));
  const auto snapshot = [](std::uint32_t size) {
    Forge forge;
    forge.put(kLittleEndian).put(std::uint64_t{1}).put(size);
    for (std::uint32_t i = 0; i < size; ++i) forge.put(i).put(std::uint64_t{1});
    return forge.put(std::uint32_t{0}).bytes();
  };
  CHECK(decode<SnapshotRecord>(snapshot(4096)).has_value());
  CHECK_FALSE(decode<SnapshotRecord>(snapshot(4097)));
  const auto update_of = [](std::uint32_t size) {
    Forge forge;
    forge.put(kLittleEndian).put(std::uint32_t{1}).put(std::int64_t{1}).put(1.0f).put(size);
    for (std::uint32_t i = 0; i < size; ++i) forge.put(i).put(std::uint64_t{1}).put(std::uint64_t{1});
    return forge.put(std::uint64_t{0}).bytes();
  };
  CHECK(decode<UpdatesRecord>(update_of(4096)).has_value());
  CHECK_FALSE(decode<UpdatesRecord>(update_of(4097)));
}

TEST_CASE("invalid values of an enumeration or a boolean make a record invalid") {
  Bytes hello = bytes_of_record(sample_hello());
  hello[1 + 4 + 3] = std::byte{2};  // chief, after the byte order and the container's name
  CHECK_FALSE(decode<HelloRecord>(hello));

  Bytes welcome = bytes_of_record(sample_welcome());
  welcome[1] = std::byte{3};
  CHECK_FALSE(decode<WelcomeRecord>(welcome));

  Bytes token = bytes_of_record(sample_token());
  token[1] = std::byte{2};  // accepted
  CHECK_FALSE(decode<TokenRecord>(token));

  for (const std::int64_t samples : {std::int64_t{-1}, kMaxCount + 1}) {
    TokenRecord used = sample_token();
    used.consumed_samples = samples;
    CHECK_FALSE(decode<TokenRecord>(bytes_of_record(used)));
    SnapshotRecord snapshot = sample_snapshot();
    snapshot.progress.consumed_samples[1] = samples;
    CHECK_FALSE(decode<SnapshotRecord>(bytes_of_record(snapshot)));
  }

  // In a creation without pieces the strategy is after the byte order, the number of pieces and the optimizer.
  CreateRecord bare = sample_create();
  bare.pieces.clear();
  const Bytes create = bytes_of_record(bare);
  constexpr std::size_t kOptimizer = 1 + (1 + 4 + 8 + 4 + 8) + 4 + 1 + 4 * 4;
  constexpr std::size_t kStrategy = 1 + 4 + kOptimizer;
  const auto with = [&](std::size_t offset, int value) {
    Bytes changed = create;
    changed[kStrategy + offset] = static_cast<std::byte>(value);
    return decode<CreateRecord>(changed);
  };
  CHECK_FALSE(with(0, 2));  // sync
  CHECK(with(5, 2)->strategy.on_lost_worker == OnLostWorker::kFail);
  CHECK_FALSE(with(5, 3));
  CHECK(with(6, 2)->strategy.staleness == StalenessPolicy::kScale);
  CHECK_FALSE(with(6, 3));
  CHECK(with(39, 0)->strategy.on_nan == OnNan::kFail);
  CHECK_FALSE(with(39, 2));
}

TEST_CASE("a reason or a notice longer than the record limit is shortened and does not throw") {
  const auto refuse = decode<RefuseRecord>(bytes_of_record(RefuseRecord{5, std::string(100'000, 'r')}));
  REQUIRE(refuse);
  CHECK(refuse->reason == std::string(4096, 'r'));
  const auto notice = decode<NoticeRecord>(bytes_of_record(NoticeRecord{std::string(100'000, 'n')}));
  REQUIRE(notice);
  CHECK(notice->text == std::string(4096, 'n'));
}

TEST_CASE("random bytes and damaged records are decoded without harm") {
  Random random(20, 3);
  const std::vector<Bytes> valid = {bytes_of_record(sample_hello()),    bytes_of_record(sample_welcome()),
                                    bytes_of_record(sample_refuse()),   bytes_of_record(sample_create()),
                                    bytes_of_record(sample_snapshot()), bytes_of_record(sample_update_list()),
                                    bytes_of_record(sample_token()),    bytes_of_record(sample_notice())};
  int accepted = 0;
  for (int i = 0; i < 100'000; ++i) {
    Bytes bytes(random.below(80));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
    if (!bytes.empty() && i % 2 == 0) bytes[0] = std::byte{kLittleEndian};
    accepted += decode_as_all(bytes);
  }
  for (int i = 0; i < 100'000; ++i) {
    Bytes bytes = valid[random.below(valid.size())];
    for (std::uint64_t n = 1 + random.below(4); n > 0; --n) {
      bytes[random.below(bytes.size())] = static_cast<std::byte>(random.below(256));
    }
    if (random.below(4) == 0) bytes.resize(random.below(bytes.size() + 1));
    accepted += decode_as_all(bytes);
  }
  CHECK(accepted > 0);        // damage in a number or a letter can leave a valid record,
  CHECK(accepted < 150'000);  // but most of it is detected
}

TEST_CASE("the first difference between two fingerprints names both values") {
  const Fingerprint chief = {{"--model", "mnist_cnn"}, {"--batch_size", "50"}};
  CHECK(first_difference(chief, chief).empty());
  CHECK(first_difference({{"--model", "mnist_cnn"}, {"--batch_size", "100"}}, chief) ==
        "--batch_size is 100 here but 50 at the chief");
  CHECK_FALSE(first_difference({{"--model", "mnist_cnn"}}, chief).empty());
  CHECK_FALSE(first_difference({{"--model", "mnist_cnn"}, {"--seed", "50"}}, chief).empty());
}

}  // namespace distmnist
