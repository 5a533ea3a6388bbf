#include "lib/supervisor/safetensors.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <fstream>

#include "lib/base/bytes.h"
#include "lib/base/random.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

using namespace distmnist;

namespace {

constexpr std::uint64_t kMaxTestFile = 100'000'000;

void put(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void put_with_header(const std::filesystem::path& path, std::uint64_t length, const std::string& rest) {
  std::vector<std::byte> bytes;
  for (const std::byte byte : to_little_endian(length)) bytes.push_back(byte);
  for (const std::byte byte : bytes_of(rest)) bytes.push_back(byte);
  put(path, bytes);
}

// While it exists, the bits of `mask` in one byte of the file are flipped.
class DamagedByte {
 public:
  DamagedByte(const std::filesystem::path& path, std::size_t offset, std::byte original, std::byte mask)
      : fd_(open(path.c_str(), O_WRONLY | O_CLOEXEC)), offset_(static_cast<off_t>(offset)), original_(original) {
    put_byte(original ^ mask);
  }
  ~DamagedByte() { put_byte(original_); }
  DamagedByte(const DamagedByte&) = delete;
  DamagedByte& operator=(const DamagedByte&) = delete;

 private:
  void put_byte(std::byte value) { CHECK(pwrite(fd_.get(), &value, 1, offset_) == 1); }

  FileDescriptor fd_;
  off_t offset_;
  std::byte original_;
};

// Opens and verifies the file like a reader of checkpoints.
bool is_intact(const std::filesystem::path& path) {
  const auto error = error_of([&] { SafetensorsReader(path).verify_checksums(); });
  if (error) CHECK(error->code() == ExitCode::kData);
  return !error;
}

std::vector<std::byte> small_file(const std::filesystem::path& path) {
  const std::vector<float> a = {1, 2, 3, 4, 5, 6}, b = {-1.5f};
  write_safetensors(path, {{"key", "value"}}, std::array<NamedTensor, 2>{{{"a", {2, 3}, a}, {"b", {}, b}}});
  return read_file(path, kMaxTestFile);
}

}  // namespace

TEST_CASE("tensors and metadata are read back") {
  const TempDir dir;
  small_file(dir / "f");
  const SafetensorsReader file(dir / "f");
  CHECK(file.metadata().at("key") == "value");
  REQUIRE(file.tensors().size() == 2);
  REQUIRE(file.find("a") != nullptr);
  CHECK(file.find("c") == nullptr);
  std::array<float, 6> a{};
  file.read(*file.find("a"), std::span<float>(a));
  CHECK(a == std::array<float, 6>{1, 2, 3, 4, 5, 6});
  CHECK(file.has_checksums());
  file.verify_checksums();
}

TEST_CASE("a file without tensors is valid") {
  const TempDir dir;
  write_safetensors(dir / "f", {}, {});
  CHECK(is_intact(dir / "f"));
  CHECK(SafetensorsReader(dir / "f").tensors().empty());
}

TEST_CASE("a flip of any bit of a file is detected") {
  const TempDir dir;
  const auto original = small_file(dir / "f");
  REQUIRE(is_intact(dir / "f"));
  for (std::size_t i = 0; i < original.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      const DamagedByte damage(dir / "f", i, original[i], static_cast<std::byte>(1 << bit));
      INFO("byte " << i << " bit " << bit);
      REQUIRE_FALSE(is_intact(dir / "f"));
    }
  }
  CHECK(is_intact(dir / "f"));
}

TEST_CASE("any other value of any byte of a file is detected") {
  const TempDir dir;
  const auto original = small_file(dir / "f");
  Random random(1, 0);
  for (std::size_t i = 0; i < original.size(); ++i) {
    const DamagedByte damage(dir / "f", i, original[i], static_cast<std::byte>(1 + random.below(255)));
    INFO("byte " << i);
    REQUIRE_FALSE(is_intact(dir / "f"));
  }
}

TEST_CASE("a change of a random byte of a large file is detected") {
  const TempDir dir;
  const std::vector<float> values(700'000, 0.125f);
  write_safetensors(dir / "f", {}, std::array<NamedTensor, 1>{{{"a", {700'000}, values}}});
  const auto original = read_file(dir / "f", kMaxTestFile);
  Random random(2, 0);
  for (int i = 0; i < 50; ++i) {
    const auto at = random.below(original.size());
    const DamagedByte damage(dir / "f", at, original[at], static_cast<std::byte>(1 + random.below(255)));
    REQUIRE_FALSE(is_intact(dir / "f"));
  }
  CHECK(is_intact(dir / "f"));
}

TEST_CASE("truncation at any length and extra bytes at the end are detected") {
  const TempDir dir;
  auto bytes = small_file(dir / "f");
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    put(dir / "f", std::span(bytes).first(size));
    REQUIRE_FALSE(is_intact(dir / "f"));
  }
  bytes.push_back({});
  put(dir / "f", bytes);
  CHECK_FALSE(is_intact(dir / "f"));
}

TEST_CASE("a damaged file is named with the position of the damage") {
  const TempDir dir;
  const auto original = small_file(dir / "f");
  auto damaged = original;
  damaged.back() ^= std::byte{1};
  put(dir / "f", damaged);
  CHECK(fails_with(ExitCode::kData, (dir / "f").string() + ": damaged: the data (offsets",
                   [&] { SafetensorsReader(dir / "f").verify_checksums(); }));
  damaged = original;
  const std::string_view text = text_of(damaged);
  damaged[text.find("value")] = std::byte{'V'};
  put(dir / "f", damaged);
  CHECK(fails_with(ExitCode::kData, ": damaged: the header (offsets 0 to",
                   [&] { SafetensorsReader(dir / "f").verify_checksums(); }));
}

TEST_CASE("a header length beyond the file or the format is refused before anything is allocated") {
  const TempDir dir;
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::uint64_t{100'000'001}, ~std::uint64_t{0}, ~std::uint64_t{7}}) {
    put_with_header(dir / "f", length, "{}");
    CHECK(fails_with(ExitCode::kData, "a header of", [&] { SafetensorsReader{dir / "f"}; }));
  }
  // The file is long enough, but the format does not allow this header.
  put_with_header(dir / "f", kMaxHeaderBytes + 1, "{}");
  std::filesystem::resize_file(dir / "f", kMaxHeaderBytes + 100);
  CHECK(fails_with(ExitCode::kData, "a header of 100000001 bytes", [&] { SafetensorsReader{dir / "f"}; }));
  put_with_header(dir / "f", 0, "");
  CHECK(fails_with(ExitCode::kData, "does not begin with '{'", [&] { SafetensorsReader{dir / "f"}; }));
}

TEST_CASE("random bytes are refused") {
  const TempDir dir;
  Random random(3, 0);
  for (int i = 0; i < 200; ++i) {
    std::string text(random.below(300), ' ');
    for (char& c : text) c = static_cast<char>(random.next());
    put_with_header(dir / "f", random.below(text.size() + 1), "{" + text);
    REQUIRE_FALSE(is_intact(dir / "f"));
  }
}

TEST_CASE("a file of a different program can be read, and is recognized as having no checksums") {
  const TempDir dir;
  const std::string header = R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  put_with_header(dir / "f", header.size(), header + std::string("\0\0\x80\x3F", 4));
  const SafetensorsReader file(dir / "f");
  std::array<float, 1> w{};
  file.read(*file.find("w"), std::span<float>(w));
  CHECK(w[0] == 1.0f);
  CHECK_FALSE(file.has_checksums());
  CHECK(fails_with(ExitCode::kData, "its metadata does not have crc32c_data and crc32c_header",
                   [&] { file.verify_checksums(); }));
}

TEST_CASE("a checksum key inside a different text does not mislead the reader") {
  const TempDir dir;
  const std::vector<float> values = {1};
  write_safetensors(dir / "f", {{"note", "\"crc32c_header\":\"12345678\""}},
                    std::array<NamedTensor, 1>{{{"\"crc32c_header\":\"12345678", {1}, values}}});
  CHECK(is_intact(dir / "f"));
}
