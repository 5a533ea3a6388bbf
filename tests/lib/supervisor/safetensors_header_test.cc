#include "lib/supervisor/safetensors_header.h"

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

using namespace distmnist;

namespace {

bool refused(const std::string& text, std::uint64_t data_size_bytes, const std::string& because) {
  const auto error = error_of([&] { parse_safetensors_header(text, data_size_bytes, "file.safetensors"); });
  CHECK(error.has_value());
  if (!error) return false;
  const std::string message = error->what();
  INFO(message);
  CHECK(message.starts_with("file.safetensors: "));
  CHECK(message.find(because) != std::string::npos);
  return error->code() == ExitCode::kData;
}

// A one-dimensional tensor.
std::string entry(const std::string& name, int size, int begin, int end) {
  return fmt::format("\"{}\":{{\"dtype\":\"F32\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", name, size, begin, end);
}

// A header of one or two entries.
std::string header_of(const std::string& first) {
  return fmt::format("{{{}}}", first);
}
std::string header_of(const std::string& first, const std::string& second) {
  return fmt::format("{{{},{}}}", first, second);
}

}  // namespace

TEST_CASE("a header is read back as it was written, padded to eight bytes") {
  SafetensorsHeader header;
  header.metadata = {{"global_step", "12"}, {"text", "line\n\"quoted\" \\ \x01 \xC3\xA9"}};
  header.tensors = {{.name = "scalar", .dtype = "F32", .shape = {}, .begin = 0, .end = 4},
                    {.name = "empty", .dtype = "F32", .shape = {3, 0}, .begin = 4, .end = 4},
                    {.name = "matrix", .dtype = "BF16", .shape = {2, 3}, .begin = 4, .end = 16}};
  const std::string text = format_safetensors_header(header);
  CHECK(text.size() % 8 == 0);
  CHECK(text.front() == '{');
  const SafetensorsHeader back = parse_safetensors_header(text, 16, "file");
  CHECK(back.metadata == header.metadata);
  REQUIRE(back.tensors.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(back.tensors[i].name == header.tensors[i].name);
    CHECK(back.tensors[i].dtype == header.tensors[i].dtype);
    CHECK(back.tensors[i].shape == header.tensors[i].shape);
    CHECK(back.tensors[i].begin == header.tensors[i].begin);
    CHECK(back.tensors[i].end == header.tensors[i].end);
  }
}

TEST_CASE("tensors are sorted by their bytes, in any order of the keys") {
  const auto header = parse_safetensors_header(header_of(entry("b", 1, 4, 8), entry("a", 1, 0, 4)) + "   ", 8, "file");
  REQUIRE(header.tensors.size() == 2);
  CHECK(header.tensors[0].name == "a");
  CHECK(header.metadata.empty());
}

TEST_CASE("metadata that is not UTF-8 is written as valid JSON") {
  SafetensorsHeader header;
  header.metadata = {{"path", "\xFF\xFE"}};
  CHECK(parse_safetensors_header(format_safetensors_header(header), 0, "file").metadata.at("path") ==
        "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST_CASE("an invalid header is reported with the offset") {
  CHECK(refused("", 0, "does not begin with '{'"));
  CHECK(refused(" {}", 0, "offset 8 does not begin with '{'"));
  CHECK(refused("[]", 0, "does not begin"));
  CHECK(refused("{", 0, "not JSON at offset 10"));
  CHECK(refused("{} x", 0, "not JSON at offset"));
  CHECK(refused("{}{}", 0, "not JSON at offset"));
  CHECK(refused("{\"a\":1e999999}", 0, "not JSON"));
  CHECK(refused("{\"\xFF\":1}", 0, "not JSON at offset"));
  CHECK(refused(std::string("{}\0garbage", 10), 0, "zero byte at offset 10"));
}

TEST_CASE("values of the wrong type are reported with the offset and the tensor") {
  CHECK(refused("{\"a\":1}", 0, "a number near offset"));
  CHECK(refused("{\"a\":null}", 0, "null near offset"));
  CHECK(refused("{\"a\":[]}", 0, "an array"));
  CHECK(refused("{\"__metadata__\":\"x\"}", 0, "a string"));
  CHECK(refused("{\"__metadata__\":{\"k\":1}}", 0, "a number"));
  CHECK(refused("{\"__metadata__\":{\"k\":{}}}", 0, "an object"));
  CHECK(refused("{\"a\":{}}", 0, "without a dtype, shape or data_offsets"));
  CHECK(refused("{\"a\":{\"dtype\":1}}", 0, "in tensor \"a\""));
  CHECK(refused("{\"a\":{\"dtype\":\"F32\",\"extra\":1}}", 0, "unknown key \"extra\""));
  CHECK(refused("{\"a\":{\"shape\":[-1]}}", 0, "a negative number"));
  CHECK(refused("{\"a\":{\"shape\":[1.0]}}", 0, "not an integer"));
  CHECK(refused("{\"a\":{\"shape\":[99999999999999999999]}}", 0, "not an integer"));
  CHECK(refused("{\"a\":{\"shape\":[18446744073709551615]}}", 0, "beyond 2^63"));
  CHECK(refused("{\"a\":{\"shape\":[[1]]}}", 0, "an array"));
  CHECK(refused("{\"a\":{\"data_offsets\":[0]}}", 0, "without two numbers"));
  CHECK(refused("{\"a\":{\"data_offsets\":[0,1,2]}}", 0, "more than two"));
}

TEST_CASE("a duplicate key is refused") {
  CHECK(refused(header_of(entry("a", 0, 0, 0), entry("a", 0, 0, 0)), 0, "the key \"a\" a second time"));
  CHECK(refused("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "a second time"));
  CHECK(refused("{\"__metadata__\":{\"k\":\"1\",\"k\":\"1\"}}", 0, "a second time"));
  CHECK(refused("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0, "a second time"));
  CHECK(refused(header_of(entry("a", 0, 0, 0), entry("\\u0061", 0, 0, 0)), 0, "a second time"));
}

TEST_CASE("gaps, overlaps, missing and extra bytes are reported") {
  CHECK(refused(header_of(entry("a", 1, 4, 8)), 8, "a hole before tensor \"a\", between offsets 0 and 4"));
  CHECK(refused(header_of(entry("a", 2, 0, 8), entry("b", 1, 4, 8)), 8, "an overlap before tensor \"b\""));
  CHECK(refused(header_of(entry("a", 2, 0, 8), entry("b", 2, 0, 8)), 8, "an overlap"));
  CHECK(refused(header_of(entry("a", 2, 0, 8)), 7, "truncated: tensor \"a\" needs 8 bytes"));
  CHECK(refused(header_of(entry("a", 1, 0, 4)), 6, "2 bytes after the last tensor"));
  CHECK(refused("{}", 1, "1 bytes after the last tensor, at offset 10"));
}

TEST_CASE("a shape that does not match its bytes is refused, without overflow") {
  CHECK(refused(header_of(entry("a", 2, 0, 4)), 4, "F32 [2] does not fill its data_offsets [0, 4]"));
  CHECK(refused(header_of(entry("a", 1, 4, 0)), 0, "does not fill"));
  CHECK(refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
                "does not fill"));
  CHECK(refused("{\"a\":{\"dtype\":\"Q4\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype \"Q4\""));
}

TEST_CASE("endless nesting and endless names do no harm") {
  CHECK(refused(std::string("{\"a\":").append(5'000'000, '['), 0, "an array near offset 13"));
  std::string objects = "{";
  for (int i = 0; i < 100'000; ++i) objects += "\"a\":{";
  CHECK(refused(objects, 0, "unknown key \"a\""));
  CHECK(refused(std::string("{\"").append(100'000, 'x').append("\":1}"), 0, "a number"));
  std::string ranks = "{\"a\":{\"shape\":[";
  for (int i = 0; i < 100'000; ++i) ranks += "1,";
  CHECK(refused(ranks, 0, "more than 64 dimensions"));
}

TEST_CASE("text from a file is shown without control characters and shortened") {
  CHECK(printable("a\x1B[31m\n") == "a?[31m?");
  CHECK(printable("abcdef", 3) == "abc...");
  CHECK(shape_text({}) == "[]");
  CHECK(shape_text({2, 0, 5}) == "[2, 0, 5]");
}
