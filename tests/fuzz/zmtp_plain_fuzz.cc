// Drives a ZmtpPeer without keys. The first byte selects how the bytes are split, and whether a valid greeting and
// READY precede them and headers get a correct checksum.
#include <string>

#include "tests/fuzz/input.h"
#include "tests/fuzz/zmtp_peer.h"

namespace distmnist::fuzz {
namespace {

constexpr std::size_t kMostBytes = 4 << 20;  // that a peer which has not been kept can make the server hold
constexpr std::size_t kHeaderFrame = 2 + kHeaderBytes;

std::string handshake() {
  std::string text("\xFF\0\0\0\0\0\0\0\x01\x7F\x03\x01NULL", 16);
  text.resize(64);
  return text + std::string("\4\x1C\5READY\x0BSocket-Type\0\0\0\6DEALER", 31 - 1);
}

// Writes the correct checksum into every header frame of our protocol in the text.
void mend_headers(std::string& text) {
  const std::string magic(
      "\1\x70"
      "DIMN",
      6);
  for (std::size_t at = text.find(magic); at != text.npos; at = text.find(magic, at + 1)) {
    if (text.size() - at < kHeaderFrame) return;
    Header header;
    std::memcpy(static_cast<void*>(&header), text.data() + at + 2, kHeaderBytes);
    text.replace(at + 2, kHeaderBytes, text_of(encode_header(header)));
  }
}

void feed_in_pieces(FedPeer& fed, std::string_view text, std::size_t piece) {
  for (; !text.empty(); text = text.substr(std::min(piece, text.size()))) fed.feed(text.substr(0, piece));
}

}  // namespace
}  // namespace distmnist::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace distmnist::fuzz;
  Input input(data, size);
  const std::uint8_t bits = input.byte();
  std::string text = (bits & 1) != 0 ? handshake() : std::string();
  text += Input::as_text(input.rest());
  if ((bits & 2) != 0) mend_headers(text);

  const MemoryWatch memory(kMostBytes);
  FedPeer at_once, in_pieces;
  at_once.feed(text);
  feed_in_pieces(in_pieces, text, 1 + (bits >> 2));
  check(at_once.peer().fault() == in_pieces.peer().fault(), "how bytes are cut is no matter: the fault");
  check(at_once.seen() == in_pieces.seen(), "how bytes are cut is no matter: the messages");
  check(at_once.take_replies() == in_pieces.take_replies(), "how bytes are cut is no matter: the replies");
  at_once.answer(distmnist::Message{});
  memory.check_now();
  return 0;
}
