#include "lib/wire/curve.h"

#include <sodium.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string_view>

#include "lib/base/bytes.h"
#include "lib/wire/metadata.h"

namespace distmnist {
namespace {

using Bytes = std::span<const std::byte>;
using Nonce = std::array<std::uint8_t, crypto_box_NONCEBYTES>;

constexpr std::string_view kHello{"\5HELLO"};
constexpr std::string_view kWelcome{"\7WELCOME"};
constexpr std::string_view kInitiate{"\x8INITIATE"};
constexpr std::string_view kReady{"\5READY"};
constexpr std::string_view kMessage{"\7MESSAGE"};

constexpr std::size_t kMac = crypto_box_MACBYTES;
constexpr std::size_t kNumber = 8;   // bytes of the counters
constexpr std::size_t kRandom = 16;  // random bytes of a nonce

// Offsets in the commands.
constexpr std::size_t kVersion = kHello.size();
constexpr std::size_t kPadding = kVersion + 2;  // makes HELLO longer than WELCOME
constexpr std::size_t kPaddingBytes = 72;
constexpr std::size_t kHelloKey = kPadding + kPaddingBytes;
constexpr std::size_t kHelloNumber = kHelloKey + kKeyBytes;
constexpr std::size_t kHelloBox = kHelloNumber + kNumber;
constexpr std::size_t kHelloZeros = 64;
constexpr std::size_t kHelloBytes = kHelloBox + kMac + kHelloZeros;
static_assert(kHelloBytes == 200);

constexpr std::size_t kCookie = 96;
constexpr std::size_t kInitiateCookie = kInitiate.size();
constexpr std::size_t kInitiateNumber = kInitiateCookie + kCookie;
constexpr std::size_t kInitiateBox = kInitiateNumber + kNumber;
constexpr std::size_t kVouchBytes = kRandom + kMac + 2 * kKeyBytes;
constexpr std::size_t kClientBytes = kKeyBytes + kVouchBytes;  // before the metadata
constexpr std::size_t kLeastInitiateBytes = kInitiateBox + kMac + kClientBytes;
static_assert(kLeastInitiateBytes == 257 && kMaxCurveCommandBytes >= kLeastInitiateBytes);

constexpr std::size_t kMessageMac = kMessage.size() + kNumber;
constexpr std::size_t kMessageSealed = kMessageMac + kMac;
static_assert(kMessageSealed + 1 == kCurveMessageBytes);

// libsodium's view of the bytes that it reads and writes.
const std::uint8_t* in(Bytes bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes.data());
}
std::uint8_t* out(std::span<std::byte> bytes) {
  return reinterpret_cast<std::uint8_t*>(bytes.data());
}

Key key_in(Bytes bytes) {
  Key key;
  std::memcpy(key.data(), bytes.data(), key.size());
  return key;
}

bool has_name(Bytes body, std::string_view name) {
  return text_of(body).starts_with(name);
}

// A purpose of 16 letters and a number, or one of 8 letters and random bytes.
Nonce nonce_of(std::string_view purpose, Bytes rest) {
  Nonce nonce;
  assert(purpose.size() + rest.size() == nonce.size());
  std::memcpy(nonce.data(), purpose.data(), purpose.size());
  std::memcpy(nonce.data() + purpose.size(), rest.data(), rest.size());
  return nonce;
}

// ZMTP numbers are big-endian.
std::array<std::byte, kNumber> number_bytes(std::uint64_t number) {
  std::array<std::byte, kNumber> bytes = to_little_endian(number);
  std::ranges::reverse(bytes);
  return bytes;
}
std::uint64_t number_in(Bytes bytes) {
  std::array<std::byte, kNumber> copy;
  std::ranges::reverse_copy(bytes, copy.begin());
  return from_little_endian<std::uint64_t>(copy);
}

bool same(const Key& key, Bytes bytes) {
  return bytes.size() == key.size() && sodium_memcmp(key.data(), bytes.data(), key.size()) == 0;
}

// Of the metadata of a client only its socket type matters. Its Identity would be a name that it chose itself, and is
// ignored.
CurveFault check_metadata(Bytes metadata) {
  const auto type = socket_type_of(metadata);
  if (!type) return CurveFault::kMetadata;
  return type == "DEALER" ? CurveFault::kNone : CurveFault::kSocketType;
}

std::vector<std::byte> server_metadata() {
  constexpr std::string_view kProperty{"\x0bSocket-Type\0\0\0\6ROUTER", 22};
  const Bytes bytes = bytes_of(kProperty);
  return {bytes.begin(), bytes.end()};
}

// Bytes on the stack that were secret.
template <std::size_t size>
struct Secret {
  std::array<std::byte, size> bytes;
  ~Secret() { wipe(bytes); }
};

}  // namespace

const char* to_string(CurveFault fault) {
  switch (fault) {
    case CurveFault::kNone:
      return "nothing is wrong";
    case CurveFault::kOrder:
      return "a command out of order";
    case CurveFault::kSize:
      return "a command of the wrong size";
    case CurveFault::kVersion:
      return "a different version of CURVE";
    case CurveFault::kServerKey:
      return "a greeting for a different ps, which has a different key";
    case CurveFault::kCookie:
      return "an answer that belongs to a different connection";
    case CurveFault::kReplay:
      return "a replayed message";
    case CurveFault::kSeal:
      return "a message that was altered on the way";
    case CurveFault::kVouch:
      return "a key that is not its own";
    case CurveFault::kUnknownKey:
      return "a key that this ps does not know";
    case CurveFault::kMetadata:
      return "no socket type";
    case CurveFault::kSocketType:
      return "a socket that is not a DEALER";
  }
  return "?";
}

CurveServer::CurveServer(const ServerKeys& keys) : keys_(keys) {}

CurveServer::~CurveServer() {
  wipe(std::as_writable_bytes(std::span(shared_)));
}

CurveServer::Reply CurveServer::on_command(std::span<const std::byte> body) {
  Reply reply;
  switch (state_) {
    case State::kHello:
      reply.fault = on_hello(body, reply.body);
      break;
    case State::kInitiate:
      reply.fault = on_initiate(body, reply.body);
      break;
    case State::kReady:
    case State::kFailed:
      reply.fault = CurveFault::kOrder;
      break;
  }
  if (reply.fault != CurveFault::kNone) state_ = State::kFailed;
  return reply;
}

CurveFault CurveServer::on_hello(Bytes body, std::vector<std::byte>& welcome) {
  if (!has_name(body, kHello)) return CurveFault::kOrder;
  if (body.size() != kHelloBytes) return CurveFault::kSize;
  if (body[kVersion] != std::byte{1} || body[kVersion + 1] != std::byte{0}) return CurveFault::kVersion;
  const Bytes padding = body.subspan(kPadding, kPaddingBytes);
  if (sodium_is_zero(in(padding), padding.size()) == 0) return CurveFault::kSeal;
  peer_short_ = key_in(body.subspan(kHelloKey));
  // The highest bit of a key has no meaning; no program sets it.
  if ((peer_short_.back() & 0x80) != 0) return CurveFault::kSeal;
  const Bytes number = body.subspan(kHelloNumber, kNumber);
  if (!take_number(number)) return CurveFault::kReplay;
  std::array<std::uint8_t, kHelloZeros> zeros;
  const Bytes box = body.subspan(kHelloBox);
  if (crypto_box_open_easy(zeros.data(), in(box), box.size(), nonce_of("CurveZMQHELLO---", number).data(),
                           peer_short_.data(), keys_.own.secret_key.data()) != 0 ||
      sodium_is_zero(zeros.data(), zeros.size()) == 0) {
    return CurveFault::kServerKey;
  }
  welcome = make_welcome();
  state_ = State::kInitiate;
  return CurveFault::kNone;
}

std::vector<std::byte> CurveServer::make_welcome() {
  own_ = make_key_pair();
  randombytes_buf(cookie_.data(), cookie_.size());
  std::array<std::byte, kRandom> random;
  randombytes_buf(random.data(), random.size());
  std::array<std::byte, kKeyBytes + kCookieBytes> plain;
  std::memcpy(plain.data(), own_.public_key.data(), kKeyBytes);
  std::ranges::copy(cookie_, plain.begin() + kKeyBytes);
  std::array<std::byte, kMac + plain.size()> box;
  [[maybe_unused]] const int failed =
      crypto_box_easy(out(box), in(plain), plain.size(), nonce_of("WELCOME-", random).data(), peer_short_.data(),
                      keys_.own.secret_key.data());
  assert(failed == 0);  // The same two keys have just opened the HELLO.
  std::vector<std::byte> body;
  append(body, bytes_of(kWelcome));
  append(body, random);
  append(body, box);
  return body;
}

CurveFault CurveServer::on_initiate(Bytes body, std::vector<std::byte>& ready) {
  if (!has_name(body, kInitiate)) return CurveFault::kOrder;
  if (body.size() < kLeastInitiateBytes || body.size() > kMaxCurveCommandBytes) return CurveFault::kSize;
  if (sodium_memcmp(cookie_.data(), body.data() + kInitiateCookie, kCookie) != 0) return CurveFault::kCookie;
  const Bytes number = body.subspan(kInitiateNumber, kNumber);
  if (!take_number(number)) return CurveFault::kReplay;
  if (crypto_box_beforenm(shared_.data(), peer_short_.data(), own_.secret_key.data()) != 0) return CurveFault::kSeal;
  const Bytes box = body.subspan(kInitiateBox);
  Secret<kMaxCurveCommandBytes - kInitiateBox - kMac> plain;
  const std::span<std::byte> opened = std::span(plain.bytes).first(box.size() - kMac);
  if (crypto_box_open_easy_afternm(out(opened), in(box), box.size(), nonce_of("CurveZMQINITIATE", number).data(),
                                   shared_.data()) != 0) {
    return CurveFault::kSeal;
  }
  if (const CurveFault fault = check_client(opened); fault != CurveFault::kNone) return fault;
  ready = make_ready();
  wipe(std::as_writable_bytes(std::span(own_.secret_key)));  // From here on, only shared_ is needed.
  state_ = State::kReady;
  return CurveFault::kNone;
}

CurveFault CurveServer::check_client(Bytes opened) {
  const Key client = key_in(opened);
  if (const CurveFault fault = check_vouch(client, opened.subspan(kKeyBytes, kVouchBytes)); fault != CurveFault::kNone)
    return fault;
  const auto found = keys_.known.find(client);
  if (found == keys_.known.end()) return CurveFault::kUnknownKey;
  peer_ = found->second;
  return check_metadata(opened.subspan(kClientBytes));
}

// Only the owner of the long-term key's secret can have encrypted this for our short-term key.
CurveFault CurveServer::check_vouch(const Key& client, Bytes vouch) const {
  const Bytes random = vouch.first(kRandom), box = vouch.subspan(kRandom);
  std::array<std::byte, 2 * kKeyBytes> keys;
  if (crypto_box_open_easy(out(keys), in(box), box.size(), nonce_of("VOUCH---", random).data(), client.data(),
                           own_.secret_key.data()) != 0) {
    return CurveFault::kVouch;
  }
  const Bytes vouched(keys);
  const bool of_this_connection = same(peer_short_, vouched.first(kKeyBytes));
  const bool for_this_server = same(keys_.own.public_key, vouched.subspan(kKeyBytes));
  return of_this_connection && for_this_server ? CurveFault::kNone : CurveFault::kVouch;
}

std::vector<std::byte> CurveServer::make_ready() {
  const auto number = number_bytes(next_number_++);
  const std::vector<std::byte> metadata = server_metadata();
  std::vector<std::byte> box(kMac + metadata.size());
  crypto_box_easy_afternm(out(box), in(metadata), metadata.size(), nonce_of("CurveZMQREADY---", number).data(),
                          shared_.data());
  std::vector<std::byte> body;
  append(body, bytes_of(kReady));
  append(body, number);
  append(body, box);
  return body;
}

bool CurveServer::take_number(Bytes number) {
  const std::uint64_t value = number_in(number);
  if (value <= last_number_) return false;
  last_number_ = value;
  return true;
}

CurveServer::Opened CurveServer::open(std::span<std::byte> body) {
  Opened opened;
  opened.fault = open_message(body, opened);
  if (opened.fault != CurveFault::kNone) state_ = State::kFailed;
  return opened;
}

CurveFault CurveServer::open_message(std::span<std::byte> body, Opened& opened) {
  if (state_ != State::kReady || !has_name(body, kMessage)) return CurveFault::kOrder;
  if (body.size() < kCurveMessageBytes) return CurveFault::kSize;
  const Bytes number = body.subspan(kMessage.size(), kNumber);
  if (!take_number(number)) return CurveFault::kReplay;
  const std::span<std::byte> sealed = body.subspan(kMessageSealed);
  if (crypto_box_open_detached_afternm(out(sealed), in(sealed), in(body.subspan(kMessageMac)), sealed.size(),
                                       nonce_of("CurveZMQMESSAGEC", number).data(), shared_.data()) != 0) {
    return CurveFault::kSeal;
  }
  opened.flags = static_cast<std::uint8_t>(sealed.front());
  opened.payload = sealed.subspan(1);
  return CurveFault::kNone;
}

void CurveServer::seal(std::uint8_t flags, Bytes payload, std::span<std::byte> body) {
  assert(ready() && body.size() == payload.size() + kCurveMessageBytes);
  const auto number = number_bytes(next_number_++);
  std::ranges::copy(bytes_of(kMessage), body.begin());
  std::ranges::copy(number, body.begin() + kMessage.size());
  // The flags and the payload side by side, to be encrypted in place.
  const std::span<std::byte> sealed = body.subspan(kMessageSealed);
  sealed.front() = static_cast<std::byte>(flags);
  std::ranges::copy(payload, sealed.begin() + 1);
  crypto_box_detached_afternm(out(sealed), out(body.subspan(kMessageMac)), in(sealed), sealed.size(),
                              nonce_of("CurveZMQMESSAGES", number).data(), shared_.data());
}

}  // namespace distmnist
