#include "lib/wire/zmtp.h"

#include <string>

#include "tests/support/catch.h"
#include "tests/support/loopback.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

std::string text_of_bytes(std::span<const std::byte> bytes) {
  return std::string(text_of(bytes));
}

// The bytes of a ZeroMQ 4 client, written from rfc.zeromq.org/spec/23 and 37.
std::string greeting(std::string_view mechanism = "NULL", char version = 3) {
  std::string out = std::string("\xFF\0\0\0\0\0\0\0\x01\x7F", 10) + version + '\x01';
  out += mechanism;
  out.resize(64);
  return out;
}
std::string frame(std::string_view body, int flags) {
  std::string out;
  if (body.size() > 255) {
    out += static_cast<char>(flags | 2);
    for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(body.size() >> shift);
  } else {
    out += static_cast<char>(flags);
    out += static_cast<char>(body.size());
  }
  return out.append(body);
}
std::string property(std::string_view name, std::string_view value) {
  std::string out(1, static_cast<char>(name.size()));
  out += name;
  out += std::string("\0\0\0", 3) + static_cast<char>(value.size());
  return out.append(value);
}
std::string ready(std::string_view socket_type = "DEALER", std::string_view identity = "") {
  return frame("\x05READY" + property("Socket-Type", socket_type) + property("Identity", identity), 4);
}
std::string wire_message(Message message) {
  seal(message);
  const auto header = encode_header(message.header);
  return frame(text_of(header), 1) + frame(text_of(message.payload.bytes()), 0);
}
Message floats(std::size_t count) {
  trace::Peer peer;
  peer.sequence = 7;
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
  return peer.push(0, values);
}

void feed(ZmtpPeer& peer, std::string_view bytes) {
  while (!bytes.empty()) {
    const std::span<std::byte> space = peer.space();
    REQUIRE(!space.empty());
    const std::size_t size = std::min(space.size(), bytes.size());
    std::ranges::copy(bytes_of(bytes.substr(0, size)), space.begin());
    peer.advance(size);
    bytes = bytes.substr(size);
  }
}

// The fault after these bytes, sent at once and byte by byte.
std::string fault_after(const std::string& bytes) {
  ZmtpPeer at_once, by_bytes;
  feed(at_once, bytes);
  for (const char byte : bytes) feed(by_bytes, {&byte, 1});
  CHECK(at_once.fault() == by_bytes.fault());
  return at_once.fault();
}
HeaderFault message_fault_after(const std::string& bytes) {
  ZmtpPeer peer;
  feed(peer, greeting() + ready() + bytes);
  CHECK(peer.fault().empty());
  const auto received = peer.next();
  REQUIRE(received);
  CHECK(peer.is_over());
  CHECK_FALSE(peer.next());
  return received->fault;
}

}  // namespace

TEST_CASE("a client's greeting and READY are answered, whatever routing id it claims") {
  for (const std::string_view identity : {std::string_view(), std::string_view("\0abcd", 5), std::string_view("me")}) {
    ZmtpPeer peer;
    feed(peer, greeting() + ready("DEALER", identity));
    CHECK(peer.fault().empty());
    CHECK(peer.is_ready());
    CHECK(text_of_bytes(peer.take_replies()) == greeting() + frame("\x05READY" + property("Socket-Type", "ROUTER"), 4));
    CHECK_FALSE(peer.next());
    CHECK_FALSE(peer.key_owner());
  }
}

TEST_CASE("messages are complete, however their bytes arrive") {
  const std::string bytes = greeting() + ready() + wire_message(floats(3)) + wire_message(floats(0)) +
                            wire_message(floats(8'000)) + wire_message(floats(1));
  for (const std::size_t step : {std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{113}, std::size_t{4095},
                                 std::size_t{4096}, std::size_t{4097}, bytes.size()}) {
    ZmtpPeer peer;
    std::vector<std::size_t> sizes;
    for (std::size_t begin = 0; begin < bytes.size(); begin += step) {
      feed(peer, std::string_view(bytes).substr(begin, step));
      while (auto received = peer.next()) {
        REQUIRE(received->fault == HeaderFault::kNone);
        const auto values = received->message.payload.floats();
        for (std::size_t i = 0; i < values.size(); ++i) REQUIRE(values[i] == static_cast<float>(i));
        sizes.push_back(values.size());
      }
    }
    CHECK(sizes == std::vector<std::size_t>{3, 0, 8'000, 1});
  }
}

TEST_CASE("a peer with a different protocol is recognized at the first byte that differs") {
  CHECK(fault_after("GET / HTTP/1.1\r\n\r\n") == "does not speak ZeroMQ's protocol");
  CHECK(fault_after(std::string("\xFF\0\0\0\0\0\0\0\x01\x00", 10)) == "does not speak ZeroMQ's protocol");
  CHECK(fault_after(greeting("NULL", 2)) == "speaks an old version of ZeroMQ's protocol");
  CHECK(fault_after(greeting("CURVE")) == "uses keys, but this ps does not");
  CHECK(fault_after(greeting("NULLX")) == "uses keys, but this ps does not");
  CHECK(fault_after(greeting() + ready("ROUTER")) == "is not a DEALER");
  CHECK(fault_after(greeting() + ready("")) == "is not a DEALER");
  CHECK(fault_after(greeting() + frame("\x05READY", 4)) == "is not a DEALER");
  CHECK(fault_after(greeting() + frame("\x05READY\x0BSocket-Type\xFF\xFF\xFF\xFF", 4)) == "is not a DEALER");
  CHECK(fault_after(greeting() + frame("\x05READY\xFFx", 4)) == "is not a DEALER");
  CHECK(fault_after(greeting() + frame("\x05HELLO", 4)) == "breaks off the handshake");
  CHECK(fault_after(greeting() + frame("", 4)) == "breaks off the handshake");
  CHECK(fault_after(greeting() + wire_message(floats(1))) == "sends a message before the handshake is over");
  CHECK(fault_after(greeting() + ready() + std::string("\x08\x01", 2)) == "sends a frame with unknown flags");
  CHECK(fault_after(greeting() + ready() + frame("\x09SUBSCRIBE", 4)) == "sends an unknown command");
}

TEST_CASE("sizes that a peer announces do not cause an allocation") {
  const std::string huge(8, '\x7F');
  CHECK(fault_after(greeting() + "\x06" + huge) == "sends an oversized command");
  CHECK(fault_after(greeting() + ready() + "\x06" + huge) == "sends an oversized command");
  CHECK(message_fault_after("\x03" + huge) == HeaderFault::kSize);
  const auto header = encode_header(floats(0).header);
  CHECK(message_fault_after(frame(text_of(header), 1) + "\x02" + huge) == HeaderFault::kPayload);
}

TEST_CASE("a peer that has not been kept can only send small payloads") {
  const std::size_t most = kMaxNewcomerPayload / sizeof(float);
  ZmtpPeer peer;
  feed(peer, greeting() + ready() + wire_message(floats(most)));
  CHECK(peer.next());
  feed(peer, wire_message(floats(most + 1)));
  CHECK(peer.fault() == "sends more than is allowed before it has greeted");
  ZmtpPeer kept;
  feed(kept, greeting() + ready());
  kept.set_max_payload(kMaxPayloadBytes);
  feed(kept, wire_message(floats(kMaxPayloadFloats)));
  CHECK(kept.next()->message.payload.size() == kMaxPayloadBytes);
}

TEST_CASE("a message other than header and payload is a fault, and nothing after it is read") {
  const auto header = encode_header(floats(0).header);
  const std::string good(text_of(header));
  CHECK(message_fault_after(frame(good, 0)) == HeaderFault::kSize);
  CHECK(message_fault_after(frame("", 1) + frame("", 0)) == HeaderFault::kSize);
  CHECK(message_fault_after(frame(good, 1) + frame("", 1)) == HeaderFault::kSize);
  CHECK(message_fault_after(frame(std::string(257, 'x'), 1)) == HeaderFault::kSize);
  CHECK(message_fault_after(frame(std::string(112, 'x'), 1) + frame("", 0)) == HeaderFault::kMagic);
  CHECK(message_fault_after(frame(good, 1) + frame("x", 0) + frame(good, 1) + frame("", 0)) == HeaderFault::kPayload);
}

TEST_CASE("a heartbeat is answered with its own content, also in the middle of a message") {
  ZmtpPeer peer;
  feed(peer, greeting() + ready());
  peer.take_replies();
  const std::string message = wire_message(floats(2));
  feed(peer, std::string_view(message).substr(0, 2 + kHeaderBytes));
  feed(peer, frame(std::string("\x04PING\0\0", 7) + "context", 4));
  CHECK(text_of_bytes(peer.take_replies()) == frame("\x04PONGcontext", 4));
  feed(peer, frame(std::string("\x04PING\0\0", 7) + std::string(200, 'x'), 4) + frame("\x04PONG", 4));
  CHECK(text_of_bytes(peer.take_replies()) == frame("\x04PONG" + std::string(16, 'x'), 4));
  feed(peer, std::string_view(message).substr(2 + kHeaderBytes));
  CHECK(peer.next()->message.payload.size() == 8);
}

TEST_CASE("a sent message is one frame with the header and one with the payload") {
  for (const std::size_t count : {0, 3, 1000}) {
    ZmtpPeer peer;
    feed(peer, greeting() + ready());
    const ZmtpPeer::Encoded encoded = peer.encode(floats(count));
    CHECK(text_of_bytes(encoded.head) + text_of_bytes(encoded.payload.bytes()) == wire_message(floats(count)));
  }
}

}  // namespace distmnist
