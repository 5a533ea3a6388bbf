#include "lib/wire/zmtp.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace distmnist {
namespace {

constexpr std::size_t kGreetingBytes = 64;
constexpr std::size_t kMaxCommandBytes = 1024;  // of a handshake: a socket type and a routing id
constexpr std::size_t kMaxHeaderFrame = 256;    // of another version of ours

constexpr std::uint8_t kMore = 1, kLong = 2, kCommand = 4;
constexpr std::uint8_t kReserved = 0xF8;

std::uint8_t byte_at(std::span<const std::byte> bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::uint64_t big_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (const std::byte byte : bytes) value = value << 8 | static_cast<std::uint8_t>(byte);
  return value;
}

// Signature, version 3.1, mechanism, whether this side is its server, and filler.
std::string greeting(std::string_view mechanism) {
  std::string out("\xFF\0\0\0\0\0\0\0\x01\x7F\x03\x01", 12);
  out += mechanism;
  out.resize(kGreetingBytes);
  return out;
}

std::string command(std::string_view name, std::string_view body) {
  std::string out(1, static_cast<char>(kCommand));
  out += static_cast<char>(1 + name.size() + body.size());
  out += static_cast<char>(name.size());
  return out.append(name).append(body);
}

// The name of a command's body, cut off from it.
std::string_view take_name(std::span<const std::byte>& body) {
  if (body.empty()) return {};
  const std::size_t size = byte_at(body, 0);
  if (size > body.size() - 1) return {};
  const std::string_view name = text_of(body.subspan(1, size));
  body = body.subspan(1 + size);
  return name;
}

bool equal_without_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) { return (x | 0x20) == (y | 0x20); });
}

// The value of a property among (name, value) pairs; nothing where it is not there, or the pairs are not whole.
std::optional<std::string_view> property(std::span<const std::byte> metadata, std::string_view wanted) {
  std::optional<std::string_view> found;
  while (!metadata.empty()) {
    const std::string_view name = take_name(metadata);
    if (name.empty() || metadata.size() < 4) return std::nullopt;
    const std::uint64_t size = big_endian(metadata.first(4));
    if (size > metadata.size() - 4) return std::nullopt;
    if (equal_without_case(name, wanted)) found = text_of(metadata.subspan(4, static_cast<std::size_t>(size)));
    metadata = metadata.subspan(4 + static_cast<std::size_t>(size));
  }
  return found;
}

// What goes before a frame of this size.
void append_frame_head(std::vector<std::byte>& out, std::size_t size, bool more) {
  const bool is_long = size > 255;
  out.push_back(static_cast<std::byte>((more ? kMore : 0) | (is_long ? kLong : 0)));
  for (int shift = is_long ? 56 : 0; shift >= 0; shift -= 8) out.push_back(static_cast<std::byte>(size >> shift));
}

}  // namespace

ZmtpPeer::ZmtpPeer() : max_payload_(kMaxNewcomerPayload) {
  reply(bytes_of(greeting("NULL")));
}

// ---- Bytes in ----

std::span<std::byte> ZmtpPeer::space() {
  if (filling_ && begin_ == end_) return payload_.bytes().subspan(filled_);
  if (begin_ == end_ || over_ || !fault_.empty()) begin_ = end_ = 0;
  if (begin_ > 0 && end_ == buffer_.size()) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
  }
  return std::span(buffer_).subspan(end_);
}

void ZmtpPeer::advance(std::size_t size) {
  if (over_ || !fault_.empty()) return;
  if (filling_ && begin_ == end_) {
    filled_ += size;
    if (filled_ < payload_.size()) return;
    end_payload();
  } else {
    end_ += size;
  }
  parse();
}

void ZmtpPeer::parse() {
  bool goes_on = true;
  while (goes_on && !over_ && fault_.empty()) {
    goes_on = state_ == State::kGreeting ? parse_greeting() : parse_frame();
  }
}

// All parse functions: false where more bytes are needed, or there is nothing more to come.

bool ZmtpPeer::parse_greeting() {
  const std::span<const std::byte> bytes = buffered();
  if (bytes.size() >= 1 && byte_at(bytes, 0) != 0xFF) return fail("does not speak ZeroMQ's protocol");
  if (bytes.size() >= 10 && byte_at(bytes, 9) != 0x7F) return fail("does not speak ZeroMQ's protocol");
  if (bytes.size() >= 11 && byte_at(bytes, 10) < 3) return fail("speaks an old version of ZeroMQ's protocol");
  if (bytes.size() < kGreetingBytes) return false;
  if (text_of(bytes.subspan(12, 20)) != greeting("NULL").substr(12, 20)) {
    return fail("asks for another security mechanism: give it the keys of this job, or this ps none");
  }
  begin_ += kGreetingBytes;
  state_ = State::kHandshake;
  return true;
}

bool ZmtpPeer::parse_frame() {
  const std::span<const std::byte> bytes = buffered();
  if (!head_) {
    if (bytes.empty()) return false;
    const std::uint8_t flags = byte_at(bytes, 0);
    if ((flags & kReserved) != 0) return fail("sends a frame with unknown flags");
    const std::size_t size_bytes = (flags & kLong) != 0 ? 8 : 1;
    if (bytes.size() < 1 + size_bytes) return false;
    head_ = FrameHead{flags, static_cast<std::size_t>(big_endian(bytes.subspan(1, size_bytes)))};
    begin_ += 1 + size_bytes;
    return true;
  }
  const FrameHead head = *head_;
  const bool is_command = (head.flags & kCommand) != 0;
  if (!is_command && state_ == State::kHandshake) return fail("sends a message before the handshake is over");
  if (!is_command && part_ == Part::kPayload) return begin_payload(head);
  if (!is_command) return parse_header(head);
  if (head.size > kMaxCommandBytes) return fail("sends an oversized command");
  if (bytes.size() < head.size) return false;
  head_.reset();
  begin_ += head.size;
  return parse_command(bytes.first(head.size));
}

bool ZmtpPeer::parse_command(std::span<const std::byte> body) {
  const std::string_view name = take_name(body);
  if (state_ == State::kHandshake) {
    if (name != "READY") return fail("breaks the handshake off");
    if (property(body, "Socket-Type") != "DEALER") return fail("is no DEALER");
    reply(bytes_of(command("READY", std::string("\x0BSocket-Type\0\0\0\x06ROUTER", 22))));
    state_ = State::kReady;
    return true;
  }
  if (name == "PING" && body.size() >= 2) {  // After the time to live comes what the answer repeats.
    reply(bytes_of(command("PONG", text_of(body.subspan(2, std::min<std::size_t>(body.size() - 2, 16))))));
    return true;
  }
  return name == "PONG" ? true : fail("sends an unknown command");
}

// ---- Messages ----

bool ZmtpPeer::parse_header(const FrameHead& head) {
  if ((head.flags & kMore) == 0 || head.size > kMaxHeaderFrame) return deliver_fault(HeaderFault::kSize);
  const std::span<const std::byte> bytes = buffered();
  if (bytes.size() < head.size) return false;
  header_.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(head.size));
  begin_ += head.size;
  head_.reset();
  part_ = Part::kPayload;
  return true;
}

bool ZmtpPeer::begin_payload(const FrameHead& head) {
  if (filling_) return false;
  if ((head.flags & kMore) != 0) return deliver_fault(HeaderFault::kSize);
  const DecodedHeader decoded = decode_header(header_, head.size);
  if (decoded.fault != HeaderFault::kNone) return deliver_fault(decoded.fault, decoded.header);
  if (head.size > max_payload_) return fail("sends more than somebody may who has not greeted");
  decoded_ = decoded.header;
  payload_ = head.size > 0 ? Frame::allocate(head.size) : Frame();
  filled_ = std::min(head.size, end_ - begin_);
  if (filled_ > 0) std::memcpy(payload_.bytes().data(), buffer_.data() + begin_, filled_);
  begin_ += filled_;
  filling_ = filled_ < head.size;
  if (filling_) return false;
  end_payload();
  return true;
}

void ZmtpPeer::end_payload() {
  filling_ = false;
  filled_ = 0;
  head_.reset();
  part_ = Part::kHeader;
  messages_.push_back(make_received(decoded_, std::exchange(payload_, {})));
  over_ = messages_.back().fault != HeaderFault::kNone;
}

bool ZmtpPeer::deliver_fault(HeaderFault fault, const Header& header) {
  messages_.push_back({{header, {}}, fault});
  over_ = true;
  return false;
}

std::optional<Received> ZmtpPeer::next() {
  if (taken_ == messages_.size()) {
    messages_.clear();
    taken_ = 0;
    return std::nullopt;
  }
  return std::move(messages_[taken_++]);
}

// ---- Bytes out ----

std::vector<std::byte> ZmtpPeer::take_replies() {
  return std::exchange(replies_, {});
}

bool ZmtpPeer::fail(std::string_view why) {
  fault_ = why;
  return false;
}

std::vector<std::byte> ZmtpPeer::encode_up_to_payload(Message& message) {
  seal(message);
  const auto header = encode_header(message.header);
  std::vector<std::byte> out;
  out.reserve(2 + kHeaderBytes + 9);
  append_frame_head(out, header.size(), true);
  out.insert(out.end(), header.begin(), header.end());
  append_frame_head(out, message.payload.size(), false);
  return out;
}

}  // namespace distmnist
