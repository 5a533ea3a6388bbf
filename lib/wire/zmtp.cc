#include "lib/wire/zmtp.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/core.h>

#include "lib/base/bytes.h"
#include "lib/wire/metadata.h"

namespace distmnist {
namespace {

constexpr std::size_t kGreetingBytes = 64, kMechanism = 12, kMechanismEnd = 32;
constexpr std::size_t kMaxCommandBytes = kMaxCurveCommandBytes;
constexpr std::size_t kMaxHeaderFrame = 256;  // in a different version of this protocol
constexpr std::size_t kAlignment = 16;        // for a payload
constexpr std::size_t kMaxFrameHead = 9;

constexpr std::uint8_t kMore = 1, kLong = 2, kCommand = 4;
constexpr std::uint8_t kReserved = 0xF8;

std::uint8_t byte_at(std::span<const std::byte> bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

std::uint64_t big_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (const std::byte byte : bytes) value = value << 8 | static_cast<std::uint8_t>(byte);
  return value;
}

// Signature, version 3.1, mechanism, whether this side is its server, and filler.
std::string greeting(bool curve) {
  std::string out("\xFF\0\0\0\0\0\0\0\x01\x7F\x03\x01", 12);
  out += curve ? "CURVE" : "NULL";
  out.resize(kGreetingBytes);
  out[kMechanismEnd] = static_cast<char>(curve);
  return out;
}

// The body of a command.
std::string command(std::string_view name, std::string_view rest) {
  return std::string(1, static_cast<char>(name.size())).append(name).append(rest);
}

// Removes the name from a command's body and returns it.
std::string_view take_name(std::span<const std::byte>& body) {
  if (body.empty()) return {};
  const std::size_t size = byte_at(body, 0);
  if (size > body.size() - 1) return {};
  const std::string_view name = text_of(body.subspan(1, size));
  body = body.subspan(1 + size);
  return name;
}

void append_size(std::vector<std::byte>& out, std::size_t size, bool is_long) {
  for (int shift = is_long ? 56 : 0; shift >= 0; shift -= 8) out.push_back(static_cast<std::byte>(size >> shift));
}

// Appends the head of a frame of this size.
void append_frame_head(std::vector<std::byte>& out, std::size_t size, bool more) {
  const bool is_long = size > 255;
  out.push_back(static_cast<std::byte>((more ? kMore : 0) | (is_long ? kLong : 0)));
  append_size(out, size, is_long);
}

// Appends the body of a command as a frame.
void append_command(std::vector<std::byte>& out, std::span<const std::byte> body) {
  const bool is_long = body.size() > 255;
  out.push_back(static_cast<std::byte>(kCommand | (is_long ? kLong : 0)));
  append_size(out, body.size(), is_long);
  append(out, body);
}

void append_sealed(CurveServer& curve, std::uint8_t flags, std::span<const std::byte> payload,
                   std::vector<std::byte>& out) {
  const std::size_t begin = out.size();
  out.resize(begin + payload.size() + kCurveMessageBytes);
  curve.seal(flags, payload, std::span(out).subspan(begin));
}

}  // namespace

ZmtpPeer::ZmtpPeer(const ServerKeys* keys) : max_payload_(kMaxNewcomerPayload) {
  if (keys != nullptr) curve_ = std::make_unique<CurveServer>(*keys);
  append(replies_, bytes_of(greeting(keys != nullptr)));
}

std::optional<KeyOwner> ZmtpPeer::key_owner() const {
  return curve_ && is_ready() ? std::optional(curve_->peer()) : std::nullopt;
}

// ---- Bytes in ----

std::span<std::byte> ZmtpPeer::space() {
  if (!filling_.empty()) return filling_.subspan(filled_);
  if (begin_ == end_ || over_ || !fault_.empty()) begin_ = end_ = 0;
  if (begin_ > 0 && end_ == buffer_.size()) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
  }
  return std::span(buffer_).subspan(end_);
}

void ZmtpPeer::advance(std::size_t size) {
  if (over_ || !fault_.empty()) return;
  if (filling_.empty()) {
    end_ += size;
  } else {
    filled_ += size;
    if (filled_ < filling_.size() || !end_payload()) return;
  }
  parse();
}

void ZmtpPeer::parse() {
  bool goes_on = true;
  while (goes_on) {
    if (state_ == State::kGreeting) {
      goes_on = parse_greeting();
    } else if (!head_) {
      goes_on = parse_frame_head();
    } else {
      goes_on = curve_ && state_ == State::kReady ? parse_sealed_frame() : parse_frame();
    }
  }
}

bool ZmtpPeer::parse_greeting() {
  const std::span<const std::byte> bytes = buffered();
  if (bytes.size() >= 1 && byte_at(bytes, 0) != 0xFF) return fail("does not speak ZeroMQ's protocol");
  if (bytes.size() >= 10 && byte_at(bytes, 9) != 0x7F) return fail("does not speak ZeroMQ's protocol");
  if (bytes.size() >= 11 && byte_at(bytes, 10) < 3) return fail("speaks an old version of ZeroMQ's protocol");
  if (bytes.size() < kGreetingBytes) return false;
  const std::string own = greeting(curve_ != nullptr);
  const std::string_view mechanism = text_of(bytes.subspan(kMechanism, kMechanismEnd - kMechanism));
  if (mechanism != std::string_view(own).substr(kMechanism, kMechanismEnd - kMechanism)) {
    return fail(curve_ ? "has no key" : "uses keys, but this ps does not");
  }
  begin_ += kGreetingBytes;
  state_ = State::kHandshake;
  return true;
}

bool ZmtpPeer::parse_frame_head() {
  const std::span<const std::byte> bytes = buffered();
  if (bytes.empty()) return false;
  const std::uint8_t flags = byte_at(bytes, 0);
  if ((flags & kReserved) != 0) return fail("sends a frame with unknown flags");
  const std::size_t size_bytes = (flags & kLong) != 0 ? 8 : 1;
  if (bytes.size() < 1 + size_bytes) return false;
  head_ = FrameHead{flags, static_cast<std::size_t>(big_endian(bytes.subspan(1, size_bytes)))};
  begin_ += 1 + size_bytes;
  return true;
}

std::optional<std::span<std::byte>> ZmtpPeer::take_body() {
  const std::span<std::byte> bytes = buffered();
  if (bytes.size() < head_->size) return std::nullopt;
  begin_ += head_->size;
  const std::size_t size = head_->size;
  head_.reset();
  return bytes.first(size);
}

bool ZmtpPeer::parse_frame() {
  const FrameHead head = *head_;
  if ((head.flags & kCommand) != 0) {
    if (head.size > kMaxCommandBytes) return fail("sends an oversized command");
    const auto body = take_body();
    if (!body) return false;
    return state_ == State::kReady ? on_command(*body) : on_handshake(*body);
  }
  if (state_ != State::kReady) return fail("sends a message before the handshake is over");
  if (part_ == Part::kPayload) {
    if ((head.flags & kMore) != 0) return deliver({{}, HeaderFault::kSize});
    return begin_payload(head.size, 0);
  }
  if (head.size > kMaxHeaderFrame) return deliver({{}, HeaderFault::kSize});
  const auto body = take_body();
  return body && on_header(head.flags, *body);
}

// The encrypted part says what a frame is; a large one can only be a payload.
bool ZmtpPeer::parse_sealed_frame() {
  const FrameHead head = *head_;
  if ((head.flags & kCommand) != 0 || (head.flags & kMore) != 0 || head.size < kCurveMessageBytes) {
    return fail("sends a frame that is not encrypted");
  }
  if (head.size > kMaxHeaderFrame + kCurveMessageBytes) {
    if (part_ != Part::kPayload) return deliver({{}, HeaderFault::kSize});
    return begin_payload(head.size - kCurveMessageBytes, kCurveMessageBytes);
  }
  const auto body = take_body();
  if (!body) return false;
  const CurveServer::Opened opened = curve_->open(*body);
  if (opened.fault != CurveFault::kNone) return fail(fmt::format("sent {}", to_string(opened.fault)));
  return on_part(opened.flags, opened.payload);
}

// ---- Commands ----

bool ZmtpPeer::on_handshake(std::span<const std::byte> body) {
  if (curve_) {
    const CurveServer::Reply answer = curve_->on_command(body);
    if (answer.fault == CurveFault::kUnknownKey || answer.fault == CurveFault::kServerKey)
      append_command(replies_, bytes_of(kCurveRefusal));
    if (answer.fault != CurveFault::kNone)
      return fail(fmt::format("has no key of this job: {}", to_string(answer.fault)));
    append_command(replies_, answer.body);
    if (curve_->ready()) state_ = State::kReady;
    return true;
  }
  const std::string_view name = take_name(body);
  if (name != "READY") return fail("breaks off the handshake");
  if (socket_type_of(body) != "DEALER") return fail("is not a DEALER");
  append_command(replies_, bytes_of(command("READY", std::string("\x0BSocket-Type\0\0\0\x06ROUTER", 22))));
  state_ = State::kReady;
  return true;
}

bool ZmtpPeer::on_command(std::span<const std::byte> body) {
  const std::string_view name = take_name(body);
  if (name == "PONG") return true;
  if (name != "PING" || body.size() < 2) return fail("sends an unknown command");
  // The answer repeats the bytes after the time to live.
  const std::string pong = command("PONG", text_of(body.subspan(2, std::min<std::size_t>(body.size() - 2, 16))));
  if (!curve_) {
    append_command(replies_, bytes_of(pong));
  } else {
    append_frame_head(replies_, pong.size() + kCurveMessageBytes, false);
    append_sealed(*curve_, kCurveCommand, bytes_of(pong), replies_);
  }
  return true;
}

// ---- Messages ----

bool ZmtpPeer::on_part(std::uint8_t flags, std::span<const std::byte> body) {
  if ((flags & kCurveCommand) != 0) return on_command(body);
  if (part_ == Part::kHeader) return on_header(flags & kCurveMore, body);
  if ((flags & kCurveMore) != 0) return deliver({{}, HeaderFault::kSize});
  if (!make_room(body.size(), 0)) return false;
  std::ranges::copy(body, filling_.begin());
  return end_payload();
}

bool ZmtpPeer::on_header(std::uint8_t flags, std::span<const std::byte> body) {
  if ((flags & kMore) == 0) return deliver({{}, HeaderFault::kSize});
  header_.assign(body.begin(), body.end());
  part_ = Part::kPayload;
  return true;
}

bool ZmtpPeer::make_room(std::size_t size, std::size_t sealed_bytes) {
  const DecodedHeader decoded = decode_header(header_, size);
  if (decoded.fault != HeaderFault::kNone) return deliver({{decoded.header, {}}, decoded.fault});
  if (size > max_payload_) return fail("sends more than is allowed before it has greeted");
  decoded_ = decoded.header;
  const std::size_t before = (sealed_bytes + kAlignment - 1) / kAlignment * kAlignment;
  Frame memory = before + size > 0 ? Frame::allocate(before + size) : Frame();
  filling_ = memory.bytes().subspan(before - sealed_bytes);
  payload_ = Frame(filling_.subspan(sealed_bytes), memory.release());
  filled_ = 0;
  return true;
}

bool ZmtpPeer::begin_payload(std::size_t size, std::size_t sealed_bytes) {
  head_.reset();
  if (!make_room(size, sealed_bytes)) return false;
  filled_ = std::min(filling_.size(), end_ - begin_);
  std::ranges::copy(buffered().first(filled_), filling_.begin());
  begin_ += filled_;
  return filled_ == filling_.size() && end_payload();
}

bool ZmtpPeer::end_payload() {
  const std::span<std::byte> whole = std::exchange(filling_, {});
  filled_ = 0;
  if (whole.size() > payload_.size()) {
    const CurveServer::Opened opened = curve_->open(whole);
    if (opened.fault != CurveFault::kNone) return fail(fmt::format("sent {}", to_string(opened.fault)));
    if (opened.flags != 0) return deliver({{}, HeaderFault::kSize});
  }
  part_ = Part::kHeader;
  return deliver(make_received(decoded_, std::exchange(payload_, {})));
}

bool ZmtpPeer::deliver(Received&& received) {
  over_ = received.fault != HeaderFault::kNone;
  messages_.push_back(std::move(received));
  return !over_;
}

std::optional<Received> ZmtpPeer::next() {
  if (taken_ < messages_.size()) return std::move(messages_[taken_++]);
  messages_.clear();
  taken_ = 0;
  return std::nullopt;
}

bool ZmtpPeer::fail(std::string_view why) {
  fault_ = why;
  return false;
}

// ---- Bytes out ----

ZmtpPeer::Encoded ZmtpPeer::encode(Message&& message) {
  seal(message);
  const auto header = encode_header(message.header);
  const std::size_t overhead = curve_ ? kCurveMessageBytes : 0;
  Encoded out;
  out.head.reserve(header.size() + 2 * (overhead + kMaxFrameHead));
  append_frame_head(out.head, header.size() + overhead, !curve_);
  if (!curve_) {
    append(out.head, header);
    out.payload = std::move(message.payload);
  } else {
    append_sealed(*curve_, kCurveMore, header, out.head);
    out.payload = Frame::allocate(message.payload.size() + overhead);
    curve_->seal(0, std::as_const(message.payload).bytes(), out.payload.bytes());
  }
  append_frame_head(out.head, out.payload.size(), false);
  return out;
}

}  // namespace distmnist
