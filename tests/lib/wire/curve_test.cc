#include "lib/wire/curve.h"

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/cluster/address.h"
#include "lib/wire/transport.h"
#include "tests/support/catch.h"
#include "tests/support/curve_client.h"
#include "tests/support/curve_listener.h"
#include "tests/support/trace.h"

namespace distmnist {
namespace {

using namespace std::string_literals;

constexpr std::size_t kInitiateBytes = 292;  // of the regular client in this test
constexpr KeyOwner kWorker1{KeyOwner::Role::kWorker, 1};

// A ps that knows the keys of one worker.
struct Known {
  KeyPair ps = make_key_pair();
  KeyPair worker = make_key_pair();
  ServerKeys keys{ps, {{worker.public_key, kWorker1}}};
};

// A client and the server's end of its connection.
struct Connection {
  explicit Connection(const Known& known) : client(known.worker, known.ps.public_key), server(known.keys) {}
  Connection(const Known& known, const KeyPair& own) : client(own, known.ps.public_key), server(known.keys) {}

  void greet() {
    const CurveServer::Reply welcome = server.on_command(client.hello());
    REQUIRE(welcome.fault == CurveFault::kNone);
    REQUIRE(client.take_welcome(welcome.body));
  }
  CurveFault introduce() { return server.on_command(client.initiate()).fault; }
  Connection& open() {
    greet();
    const CurveServer::Reply ready = server.on_command(client.initiate());
    REQUIRE(ready.fault == CurveFault::kNone);
    REQUIRE(client.take_ready(ready.body) == "\x0bSocket-Type\0\0\0\6ROUTER"s);
    return *this;
  }
  CurveFault receive(Body body) { return server.open(body).fault; }

  CurveClient client;
  CurveServer server;
};

std::string text(std::span<const std::byte> bytes) {
  return std::string(text_of(bytes));
}

// The same bytes, either with one byte changed or truncated.
Body changed(Body body, std::size_t at, int bit = 0) {
  body[at] ^= static_cast<std::byte>(1 << bit);
  return body;
}
Body shortened(const Body& body, std::size_t size) {
  return {body.begin(), body.begin() + static_cast<std::ptrdiff_t>(size)};
}

}  // namespace

TEST_CASE("a client with a known key is admitted, and messages go both ways") {
  const Known known;
  Connection line(known);
  CHECK_FALSE(line.server.ready());
  line.open();
  CHECK(line.server.ready());
  CHECK(line.server.peer() == kWorker1);
  for (const std::string& payload : {""s, "x"s, std::string(1000, 'y')}) {
    Body body = line.client.message("\1" + payload);
    const CurveServer::Opened opened = line.server.open(body);
    REQUIRE(opened.fault == CurveFault::kNone);
    CHECK(opened.flags == kCurveMore);
    CHECK(text(opened.payload) == payload);
    CHECK(opened.payload.data() == body.data() + kCurveMessageBytes);  // in place, not a copy

    Body sealed(payload.size() + kCurveMessageBytes);
    line.server.seal(kCurveCommand, bytes_of(payload), sealed);
    CHECK(line.client.open(sealed) == "\2" + payload);
  }
}

TEST_CASE("sealing the same text twice gives different bytes, and does not reveal the text") {
  const Known known;
  Connection line(known);
  line.open();
  const std::string payload(100, 'z');
  Body first(payload.size() + kCurveMessageBytes), second(first);
  line.server.seal(0, bytes_of(payload), first);
  line.server.seal(0, bytes_of(payload), second);
  CHECK(text(first).substr(16) != text(second).substr(16));
  CHECK(text(first).find("zzz") == std::string::npos);
}

TEST_CASE("ZeroMQ's client can talk to it, with messages up to the largest size") {
  const Known known;
  const CurveListener ps(known.keys);
  WireContext context;
  ClientSocket client(context, tcp_endpoint("127.0.0.1", ps.port()), ClientKeys{known.worker, known.ps.public_key});
  trace::Peer peer;
  std::vector<float> values(kMaxPayloadFloats);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  std::uint64_t sequence = 0;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{3}, std::size_t{100}, values.size()}) {
    peer.sequence = ++sequence;
    client.send(size == 0 ? peer.plain(MessageType::kPing)
                          : peer.push(0, {values.begin(), values.begin() + static_cast<std::ptrdiff_t>(size)}));
  }
  for (std::uint64_t k = 1; k <= sequence; ++k) {  // the listener echoes everything
    std::optional<Received> answer;
    for (const TimeMs began = monotonic_ms(); !answer && monotonic_ms() - began < 20'000;) {
      ClientSocket::poll({&client}, 100);
      answer = client.receive();
    }
    REQUIRE(answer);
    CHECK(answer->fault == HeaderFault::kNone);
    CHECK(answer->message.header.sequence == k);
    const auto floats = answer->message.payload.floats();
    CHECK(std::ranges::equal(floats, std::span(values).first(floats.size())));
  }
  CHECK(ps.peer() == kWorker1);
  CHECK(ps.aligned());
}

TEST_CASE("nothing that ZeroMQ's client sends with an unknown key is accepted") {
  const Known known;
  const CurveListener ps(known.keys);
  WireContext context;
  ClientSocket client(context, tcp_endpoint("127.0.0.1", ps.port()), ClientKeys{make_key_pair(), known.ps.public_key});
  client.send(trace::Peer{}.plain(MessageType::kPing));
  CHECK(ps.wait_for_fault() == CurveFault::kUnknownKey);
  // The client has been told and does not try again, which would happen every 100 ms.
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  CHECK(ps.num_connections() == 1);
  client.discard();
}

TEST_CASE("ZeroMQ's client with the wrong server key gets no further than its greeting") {
  const Known known;
  const CurveListener ps(known.keys);
  WireContext context;
  ClientSocket client(context, tcp_endpoint("127.0.0.1", ps.port()),
                      ClientKeys{known.worker, make_key_pair().public_key});
  client.send(trace::Peer{}.plain(MessageType::kPing));
  CHECK(ps.wait_for_fault() == CurveFault::kServerKey);
  client.discard();
}

TEST_CASE("a greeting for a different ps is not answered") {
  const Known known, other;
  CurveClient client(known.worker, other.ps.public_key);
  CurveServer server(known.keys);
  const CurveServer::Reply reply = server.on_command(client.hello());
  CHECK(reply.fault == CurveFault::kServerKey);
  CHECK(reply.body.empty());
}

TEST_CASE("a client with an unknown key is told so and not admitted") {
  const Known known;
  const KeyPair stranger = make_key_pair();
  Connection line(known, stranger);
  line.greet();
  const CurveServer::Reply reply = line.server.on_command(line.client.initiate());
  CHECK(reply.fault == CurveFault::kUnknownKey);
  CHECK(reply.body.empty());
  CHECK_FALSE(line.server.ready());
  CHECK(line.receive(line.client.message("\0x"s)) == CurveFault::kOrder);
}

TEST_CASE("a public key alone is useless: the client has to prove that it has the secret") {
  const Known known;
  Connection line(known, make_key_pair());
  line.client.claimed = known.worker.public_key;
  line.greet();
  CHECK(line.introduce() == CurveFault::kVouch);
  CHECK_FALSE(line.server.ready());
}

TEST_CASE("a proof for one ps is not valid for a different one") {
  const Known known, other;
  Connection line(known);
  line.client.vouched_server = other.ps.public_key;
  line.greet();
  CHECK(line.introduce() == CurveFault::kVouch);
}

TEST_CASE("a proof on one connection is not valid on a different one") {
  const Known known;
  Connection line(known);
  line.client.vouched_short = make_key_pair().public_key;
  line.greet();
  CHECK(line.introduce() == CurveFault::kVouch);
}

TEST_CASE("a key that gives every peer the same secret is refused") {
  Known known;
  const Key zero{};
  known.keys.known[zero] = kWorker1;
  Connection line(known);
  line.client.claimed = zero;
  line.greet();
  CHECK(line.introduce() == CurveFault::kVouch);
  Body hello = line.client.hello();
  std::fill_n(hello.begin() + 80, kKeyBytes, std::byte{});
  CurveServer server(known.keys);
  CHECK(server.on_command(hello).fault == CurveFault::kServerKey);
}

TEST_CASE("a changed byte anywhere ends the connection") {
  const Known known;
  SECTION("in HELLO") {
    const Body hello = Connection(known).client.hello();
    for (std::size_t at = 0; at < hello.size(); ++at) {
      CurveServer server(known.keys);
      const CurveServer::Reply reply = server.on_command(changed(hello, at, static_cast<int>(at % 8)));
      CHECK(reply.fault != CurveFault::kNone);
      CHECK(reply.body.empty());
    }
  }
  SECTION("in INITIATE") {
    for (std::size_t at = 0; at < kInitiateBytes; ++at) {
      Connection line(known);
      line.greet();
      const Body initiate = line.client.initiate();
      REQUIRE(initiate.size() == kInitiateBytes);
      CHECK(line.server.on_command(changed(initiate, at, static_cast<int>(at % 8))).fault != CurveFault::kNone);
      CHECK_FALSE(line.server.ready());
    }
  }
  SECTION("in MESSAGE") {
    for (std::size_t at = 0; at < 60; ++at) {
      Connection line(known);
      const Body message = line.open().client.message("\1"s + std::string(27, 'p'));
      REQUIRE(message.size() == 60);
      CHECK(line.receive(changed(message, at, static_cast<int>(at % 8))) != CurveFault::kNone);
      CHECK(line.receive(message) == CurveFault::kOrder);
    }
  }
}

TEST_CASE("commands and messages that are too short or too long are refused, whatever they contain") {
  const Known known;
  const Body hello = Connection(known).client.hello();
  for (std::size_t size = 0; size < hello.size(); ++size) {
    CurveServer server(known.keys);
    CHECK(server.on_command(shortened(hello, size)).fault != CurveFault::kNone);
  }
  Body longer = hello;
  longer.push_back(std::byte{});
  CHECK(CurveServer(known.keys).on_command(longer).fault == CurveFault::kSize);
  for (std::size_t size = 0; size < kInitiateBytes; size += 7) {
    Connection line(known);
    line.greet();
    const Body initiate = line.client.initiate();
    REQUIRE(initiate.size() == kInitiateBytes);
    CHECK(line.server.on_command(shortened(initiate, size)).fault != CurveFault::kNone);
  }
  for (std::size_t size = 0; size < 40; ++size) {
    Connection line(known);
    line.open();
    CHECK(line.receive(shortened(line.client.message("\0payload"s), size)) != CurveFault::kNone);
  }
}

TEST_CASE("meaningless bytes are refused") {
  const Known known;
  Random random(7, 0);
  for (int round = 0; round < 300; ++round) {
    Body body(random.below(400));
    for (std::byte& byte : body) byte = static_cast<std::byte>(random.below(256));
    const std::string_view names[] = {"\5HELLO", "\x8INITIATE", "\7MESSAGE", ""};
    const std::string_view name = names[static_cast<std::size_t>(round) % 4];
    if (body.size() >= name.size()) std::ranges::copy(bytes_of(name), body.begin());
    Connection line(known);
    if (round % 3 > 0) line.greet();
    CHECK(line.server.on_command(body).fault != CurveFault::kNone);
    Connection open_line(known);
    CHECK(open_line.open().receive(body) != CurveFault::kNone);
  }
}

TEST_CASE("no message can be replayed, on the same or on a different connection") {
  const Known known;
  SECTION("a message") {
    Connection line(known);
    const Body message = line.open().client.message("\0x"s);
    CHECK(line.receive(message) == CurveFault::kNone);
    CHECK(line.receive(message) == CurveFault::kReplay);
  }
  SECTION("an earlier message after a later one") {
    Connection line(known);
    const Body earlier = line.open().client.message("\0x"s), later = line.client.message("\0y"s);
    CHECK(line.receive(later) == CurveFault::kNone);
    CHECK(line.receive(earlier) == CurveFault::kReplay);
  }
  SECTION("message numbers can have gaps, up to the largest number") {
    Connection line(known);
    line.open().client.number = ~std::uint64_t{0};
    CHECK(line.receive(line.client.message("\0x"s)) == CurveFault::kNone);
    CHECK(line.receive(line.client.message("\0x"s)) == CurveFault::kReplay);  // 0
  }
  SECTION("the number of the greeting") {
    Connection line(known);
    line.greet();
    line.client.number = 1;
    CHECK(line.introduce() == CurveFault::kReplay);
  }
  SECTION("a whole recorded connection") {
    Connection recorded(known);
    const Body hello = recorded.client.hello();
    REQUIRE(recorded.client.take_welcome(recorded.server.on_command(hello).body));
    const Body initiate = recorded.client.initiate();
    REQUIRE(recorded.server.on_command(initiate).fault == CurveFault::kNone);
    CurveServer server(known.keys);
    CHECK(server.on_command(hello).fault == CurveFault::kNone);  // the sender is not known before INITIATE
    CHECK(server.on_command(initiate).fault == CurveFault::kCookie);
    CHECK_FALSE(server.ready());
  }
  SECTION("a message from a different connection of the same client") {
    Connection line(known), other(known);
    line.open();
    other.open();
    CHECK(line.receive(other.client.message("\0x"s)) == CurveFault::kSeal);
  }
  SECTION("a message that the server has sent itself") {
    Connection line(known);
    line.open();
    Body sealed(1 + kCurveMessageBytes);
    line.server.seal(0, bytes_of("x"), sealed);
    line.server.seal(0, bytes_of("x"), sealed);  // its number is above the client's
    line.server.seal(0, bytes_of("x"), sealed);
    CHECK(line.receive(sealed) == CurveFault::kSeal);
  }
}

TEST_CASE("commands must arrive in order, each once") {
  const Known known;
  SECTION("INITIATE first") {
    Connection line(known);
    line.client.cookie.assign(96, 'c');
    CHECK(line.introduce() == CurveFault::kOrder);
  }
  SECTION("MESSAGE first") {
    Connection line(known);
    CHECK(line.receive(line.client.message("\0x"s)) == CurveFault::kOrder);
    CHECK(line.server.on_command(line.client.hello()).fault == CurveFault::kOrder);
  }
  SECTION("MESSAGE before INITIATE") {
    Connection line(known);
    line.greet();
    CHECK(line.receive(line.client.message("\0x"s)) == CurveFault::kOrder);
    CHECK(line.introduce() == CurveFault::kOrder);
  }
  SECTION("HELLO twice") {
    Connection line(known);
    line.greet();
    CHECK(line.server.on_command(line.client.hello()).fault == CurveFault::kOrder);
  }
  SECTION("a command when messages are expected") {
    Connection line(known);
    line.open();
    CHECK(line.introduce() == CurveFault::kOrder);
    CHECK_FALSE(line.server.ready());
    CHECK(line.receive(line.client.message("\0x"s)) == CurveFault::kOrder);
  }
  SECTION("the greeting of ZeroMQ without keys") {
    CurveServer server(known.keys);
    CHECK(server.on_command(body_of("\5READY" + property("Socket-Type", "DEALER"))).fault == CurveFault::kOrder);
  }
}

TEST_CASE("a different version of CURVE is recognized") {
  const Known known;
  for (const std::size_t at : {6, 7}) {
    CurveServer server(known.keys);
    CHECK(server.on_command(changed(Connection(known).client.hello(), at, 1)).fault == CurveFault::kVersion);
  }
}

TEST_CASE("a client's metadata only counts for the socket type, which must be DEALER") {
  const Known known;
  const auto fault_of = [&](const std::string& metadata) {
    Connection line(known);
    line.client.metadata = metadata;
    line.greet();
    return line.introduce();
  };
  const std::string dealer = property("Socket-Type", "DEALER");
  CHECK(fault_of(dealer) == CurveFault::kNone);
  CHECK(fault_of(property("SOCKET-TYPE", "DEALER")) == CurveFault::kNone);
  CHECK(fault_of(property("Identity", "worker-0") + dealer + property("X-Name", "ps-0")) == CurveFault::kNone);
  CHECK(fault_of(property("Identity", std::string(255, 'i')) + dealer) == CurveFault::kNone);

  for (const char* type : {"REQ", "ROUTER", "PUB", "dealer", "DEALERS", ""})
    CHECK(fault_of(property("Socket-Type", type)) == CurveFault::kSocketType);
  CHECK(fault_of("") == CurveFault::kMetadata);
  CHECK(fault_of(property("Identity", "DEALER")) == CurveFault::kMetadata);
  CHECK(fault_of(dealer + dealer) == CurveFault::kMetadata);
  for (std::size_t size = 1; size < dealer.size(); ++size) {
    CHECK(fault_of(dealer.substr(0, size)) == CurveFault::kMetadata);
    CHECK(fault_of(dealer + dealer.substr(0, size)) == CurveFault::kMetadata);
  }
  CHECK(fault_of(dealer + "\0\0\0\0\0"s) == CurveFault::kMetadata);
  CHECK(fault_of(dealer + "\1x\xff\xff\xff\xff"s) == CurveFault::kMetadata);
  const std::string filler = property("X", std::string(kMaxCurveMetadataBytes - dealer.size() - 6, 'x'));
  CHECK(fault_of(dealer + filler) == CurveFault::kNone);
  CHECK(fault_of(dealer + filler + "x") == CurveFault::kSize);
}

TEST_CASE("a secret is overwritten when its key pair is destroyed") {
  alignas(KeyPair) std::array<std::byte, sizeof(KeyPair)> memory;
  auto* pair = new (memory.data()) KeyPair(make_key_pair());
  const Key secret = pair->secret_key;
  CHECK(text(memory).find(text(std::as_bytes(std::span(secret)))) != std::string::npos);
  pair->~KeyPair();
  CHECK(text(memory).find(text(std::as_bytes(std::span(secret)))) == std::string::npos);
}

TEST_CASE("a public key is derived from its secret") {
  const KeyPair pair = make_key_pair();
  CHECK(public_key_of(pair.secret_key) == pair.public_key);
  CHECK(is_usable(pair.public_key));
  CHECK_FALSE(is_usable(Key{}));
  CHECK_FALSE(is_usable(Key{1}));
}

}  // namespace distmnist
