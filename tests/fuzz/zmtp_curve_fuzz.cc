// Drives a ZmtpPeer with keys. The client either has a key of the job, so that it can pass the handshake and send what
// the script contains (zmtp_curve_script.h), or an unknown key.
#include <sodium.h>

#include <string>

#include "lib/base/random.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/wire.h"
#include "tests/fuzz/zmtp_curve_script.h"
#include "tests/fuzz/zmtp_peer.h"
#include "tests/support/curve_client.h"
#include "tests/support/trace.h"

namespace distmnist::fuzz {
namespace {

constexpr std::size_t kMostBytes = 4 << 20;

// Replaces the library's random numbers with the same ones for every input, so that an input always does the same.
std::uint64_t random_state = 0;
std::uint32_t next_random() {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<std::uint32_t>(random_state >> 32);
}
void fill_randomly(void* bytes, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i)
    static_cast<std::uint8_t*>(bytes)[i] = static_cast<std::uint8_t>(next_random());
}
randombytes_implementation repeatable = {.implementation_name = [] { return "repeatable"; },
                                         .random = next_random,
                                         .stir = nullptr,
                                         .uniform = nullptr,
                                         .buf = fill_randomly,
                                         .close = nullptr};

struct Keys {
  ServerKeys server;
  KeyPair worker, stranger;
};
const Keys& keys() {
  static const Keys made = [] {
    randombytes_set_implementation(&repeatable);
    Keys keys;
    keys.server.own = make_key_pair();
    keys.worker = make_key_pair();
    keys.stranger = make_key_pair();
    keys.server.known[keys.worker.public_key] = {KeyOwner::Role::kWorker, 1};
    return keys;
  }();
  return made;
}

class Script {
 public:
  explicit Script(Input input)
      : input_(input),
        known_((input_.byte() & 1) == 0),
        client_(known_ ? keys().worker : keys().stranger, keys().server.own.public_key),
        fed_(&keys().server) {}

  void run() {
    greet();
    while (!input_.empty() && !fed_.is_closed()) act();
    check(!fed_.peer().is_ready() || known_, "who has no key of the job is not let in");
    const auto owner = fed_.peer().key_owner();
    check(!owner || owner == KeyOwner{KeyOwner::Role::kWorker, 1}, "the key's owner is who has it");
    memory_.check_now();
  }

 private:
  void act() {
    const std::uint8_t byte = input_.byte();
    tampered_ = (byte & kTampered) != 0;
    switch (static_cast<CurveAct>((byte & ~kTampered) % kCurveActs)) {
      case CurveAct::kGreeting:
        return greet();
      case CurveAct::kHello:
        return send_command(client_.hello());
      case CurveAct::kWelcome:
        return take_welcome();
      case CurveAct::kInitiate:
        return initiate();
      case CurveAct::kSealed: {
        std::string text(1, static_cast<char>(input_.byte()));
        return send_sealed(text + input_.text());
      }
      case CurveAct::kMessage:
        return message();
      case CurveAct::kPing:
        return send_sealed(std::string("\2\4PING\0\0", 8) + input_.text());
      case CurveAct::kFrame: {
        const std::uint8_t flags = input_.byte();
        const auto bytes = input_.sized();
        return send(frame(Input::as_text(bytes), flags));
      }
      case CurveAct::kBytes:
        return send(input_.text());
      case CurveAct::kAnswer:
        return fed_.answer(trace::Peer{}.push(0, {1, 2, 3}));
      case CurveAct::kSkipNumbers:
        client_.number += input_.number();
        return;
      case CurveAct::kKeep:
        return fed_.peer().set_max_payload(kMaxPayloadBytes);
    }
  }

  void greet() {
    std::string text(
        "\xFF\0\0\0\0\0\0\0\x01\x7F\x03\x01"
        "CURVE",
        17);
    text.resize(64);
    send(text);
  }

  void take_welcome() {
    const std::vector<std::byte> replies = fed_.take_replies();
    constexpr std::size_t kWelcomeBytes = 168;
    if (replies.size() < kWelcomeBytes) return;
    client_.take_welcome(std::span(replies).last(kWelcomeBytes));
  }

  void initiate() {
    const std::uint8_t bits = input_.byte();
    const std::string honest = client_.metadata;
    if ((bits & 1) != 0) client_.metadata = input_.text();
    if ((bits & 2) != 0) client_.claimed = keys().worker.public_key;
    if ((bits & 4) != 0) client_.vouched_server = keys().stranger.public_key;
    if ((bits & 8) != 0) client_.vouched_short = keys().stranger.public_key;
    client_.cookie.resize(96);
    send_command(client_.initiate());
    client_.metadata = honest;
  }

  void message() {
    Message message{{}, trace::frame_of(input_.sized())};
    message.header.type = MessageType::kPush;
    message.header.dtype = WireDtype::kRecord;
    seal(message);
    if (input_.flag()) tell_lies(input_, message.header);
    const auto header = encode_header(message.header);
    send_sealed(std::string(1, '\1').append(text_of(header)));
    send_sealed(std::string(1, '\0').append(text_of(std::as_const(message.payload).bytes())));
  }

  // ---- Transfer ----
  static std::string frame(std::string_view body, std::uint8_t flags) {
    const bool is_long = body.size() > 255;
    std::string text(1, static_cast<char>(is_long ? flags | 2 : flags & ~2));
    for (int shift = is_long ? 56 : 0; shift >= 0; shift -= 8) {
      text += static_cast<char>(std::uint64_t{body.size()} >> shift);
    }
    return text.append(body);
  }
  void send_command(const Body& body) { send(frame(text_of(body), 4)); }
  void send_sealed(std::string_view flags_and_payload) { send(frame(text_of(client_.message(flags_and_payload)), 0)); }
  void send(std::string text) {
    if (tampered_ && !text.empty()) {
      for (std::size_t changes = 1 + input_.below(3); changes > 0; --changes) {
        text[input_.raw<std::uint16_t>() % text.size()] ^= static_cast<char>(1 + input_.below(255));
      }
    }
    fed_.feed(text);
  }

  MemoryWatch memory_{kMostBytes};
  Input input_;
  bool known_;
  CurveClient client_;
  FedPeer fed_;
  bool tampered_ = false;
};

}  // namespace
}  // namespace distmnist::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace distmnist::fuzz;
  keys();
  random_state = 1;
  Script(Input(data, size)).run();
  return 0;
}
