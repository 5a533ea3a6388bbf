#include "lib/wire/key_file.h"

#include <string>

#include "lib/base/random.h"
#include "lib/wire/z85.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

using enum KeyOwner::Role;

// The example from ZeroMQ's manual.
constexpr const char* kPublic = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
constexpr const char* kSecret = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";

std::string curve(const std::string& lines) {
  return "curve\n" + lines;
}
std::string half(const std::string& name, const std::string& value) {
  return "    " + name + " = \"" + value + "\"\n";
}
bool is_wrong(const std::string& text, const std::string& says) {
  const KeyFile file = read_key_text(text);
  return !file.fault.empty() && file.fault.find(says) != std::string::npos;
}

}  // namespace

TEST_CASE("Z85 is compatible with ZeroMQ") {
  Key secret{}, of_manual{};
  REQUIRE(decode_z85(kSecret, secret));
  REQUIRE(decode_z85(kPublic, of_manual));
  CHECK(public_key_of(secret) == of_manual);
  CHECK(of_manual[0] == 0xBB);
  CHECK(of_manual[1] == 0x88);
  CHECK(of_manual[31] == 0x18);
  std::array<char, kZ85KeyChars> chars;
  encode_z85(of_manual, chars);
  CHECK(std::string(chars.begin(), chars.end()) == kPublic);
}

TEST_CASE("every kind of key is the same after encoding and decoding in Z85") {
  Random random(3, 0);
  for (int round = 0; round < 200; ++round) {
    Key key{}, back{};
    for (std::uint8_t& byte : key)
      byte = static_cast<std::uint8_t>(round == 0 ? 0 : round == 1 ? 255 : random.below(256));
    std::array<char, kZ85KeyChars> chars;
    encode_z85(key, chars);
    REQUIRE(decode_z85({chars.data(), chars.size()}, back));
    CHECK(back == key);
  }
}

TEST_CASE("an invalid Z85 key is refused") {
  Key key{};
  const std::string good = kPublic;
  CHECK_FALSE(decode_z85("", key));
  CHECK_FALSE(decode_z85(good.substr(1), key));
  CHECK_FALSE(decode_z85(good + "0", key));
  for (const char c : {'\0', ' ', '"', '\'', '\\', ',', ';', '_', '`', '|', '~', '\x80', '\xff'}) {
    std::string bad = good;
    bad[17] = c;
    CHECK_FALSE(decode_z85(bad, key));
  }
  CHECK_FALSE(decode_z85(std::string(40, '#'), key));  // 85^5 - 1 does not fit in 32 bits
  CHECK(decode_z85("%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0", key));
  CHECK(key == [] {
    Key all;
    all.fill(0xFF);
    return all;
  }());
  CHECK_FALSE(decode_z85("%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc1", key));
}

TEST_CASE("a written file is read back") {
  const KeyPair pair = make_key_pair();
  const KeyFile open = read_key_text(public_key_text({kWorker, 12}, pair.public_key));
  CHECK(open.fault.empty());
  CHECK(open.pair.public_key == pair.public_key);
  CHECK_FALSE(open.has_secret);
  const KeyFile secret = read_key_text(secret_key_text({kPs, 0}, pair).text);
  CHECK(secret.fault.empty());
  CHECK(secret.pair.public_key == pair.public_key);
  CHECK(secret.has_secret);
  CHECK(secret.pair.secret_key == pair.secret_key);
}

TEST_CASE("the text of a secret grows within the memory that is later overwritten") {
  const SecretText text = secret_key_text({kWorker, 4'000'000'000u}, make_key_pair());
  CHECK(text.text.capacity() == 512);
  CHECK(text.text.size() < 512);
}

TEST_CASE("files written by other programs can be read") {
  const std::string both = half("public-key", kPublic) + half("secret-key", kSecret);
  for (const std::string& text : {
           curve(both),
           "#   ****  Generated on 2026-01-02 by pyzmq  ****\n#   ZeroMQ CURVE **Secret** Certificate\n\nmetadata\n"
           "    public-key = \"of no matter\"\ncurve\n" +
               both,
           "#   ZeroMQ CURVE **Secret** Certificate\r\ncurve\r\n\tpublic-key=\"" + std::string(kPublic) +
               "\"\r\n\tsecret-key\t=  '" + kSecret + "'  \r\n",
           "metadata\n    name = \"curve\"\ncurve\n    public-key = " + std::string(kPublic) +
               "\n    # x = y\n\n    secret-key = " + kSecret + "\nother\n    secret-key = \"of no matter\"",
       }) {
    const KeyFile file = read_key_text(text);
    INFO(text);
    CHECK(file.fault.empty());
    CHECK(file.has_secret);
    CHECK(public_key_of(file.pair.secret_key) == file.pair.public_key);
  }
}

TEST_CASE("an invalid key file is reported with the reason, and the error contains none of its text") {
  CHECK(is_wrong("", "no public-key"));
  CHECK(is_wrong("curve\n", "no public-key"));
  CHECK(is_wrong(half("public-key", kPublic), "no public-key"));  // outside a section
  CHECK(is_wrong("metadata\n" + half("public-key", kPublic), "no public-key"));
  CHECK(is_wrong(curve(half("secret-key", kSecret)), "no public-key"));
  CHECK(is_wrong(curve(half("public-key", kPublic) + half("public-key", kPublic)), "public-key twice"));
  CHECK(is_wrong(curve(half("public-key", kPublic) + half("secret-key", kSecret) + half("secret-key", kSecret)),
                 "secret-key twice"));
  CHECK(is_wrong(curve(half("public-key", "short")), "40 characters"));
  CHECK(is_wrong(curve(half("public-key", "")), "40 characters"));
  CHECK(is_wrong(curve("    public-key =\n"), "40 characters"));
  CHECK(is_wrong(curve("    public-key = \"" + std::string(kPublic)), "40 characters"));
  CHECK(is_wrong(std::string(kMaxKeyFileBytes + 1, '\n'), "more than 4096 bytes"));
  const std::string unsound = std::string(kSecret).substr(1);
  CHECK(read_key_text(curve(half("public-key", kPublic) + half("secret-key", unsound))).fault.find(unsound) ==
        std::string::npos);
}

TEST_CASE("files with any bytes are read without harm") {
  Random random(5, 0);
  const std::string good =
      "metadata\n    task = \"ps-0\"\n" + curve(half("public-key", kPublic) + half("secret-key", kSecret));
  for (int round = 0; round < 3000; ++round) {
    std::string text = good.substr(0, random.below(good.size() + 1));
    for (std::uint64_t k = random.below(6); k > 0 && !text.empty(); --k)
      text[random.below(text.size())] = static_cast<char>(random.below(256));
    const KeyFile file = read_key_text(text);
    CHECK(file.fault.size() < 80);
  }
}

TEST_CASE("only the names of tasks stand for a task") {
  for (const KeyOwner& owner :
       {KeyOwner{kPs, 0}, KeyOwner{kWorker, 1}, KeyOwner{kWorker, 4'294'967'295u}, KeyOwner{kAdmin, 0}})
    CHECK(owner_of(file_name_of(owner)) == owner);
  CHECK(file_name_of({kWorker, 12}) == "worker-12");
  CHECK(file_name_of({kAdmin, 0}) == "admin");
  for (const char* name : {"", "ps", "ps-", "ps-00", "worker-01", "worker--1", "worker-+1", "worker-1 ", "Worker-1",
                           "worker:1", "worker-4294967296", "admin-0", "administrator", "ps-0x", "../ps-0"})
    CHECK_FALSE(owner_of(name));
}

}  // namespace distmnist
