// Feeds a ZmtpPeer with the fuzzer's bytes and checks conditions that must be true for all bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/wire/message.h"
#include "lib/wire/zmtp.h"
#include "tests/fuzz/check.h"

namespace distmnist::fuzz {

class FedPeer {
 public:
  explicit FedPeer(const ServerKeys* keys = nullptr) : peer_(keys) {}

  void feed(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const std::span<std::byte> space = peer_.space();
      check(!space.empty(), "there is always room for the next bytes");
      const std::size_t size = std::min(space.size(), bytes.size());
      std::ranges::copy(bytes.first(size), space.begin());
      peer_.advance(size);
      bytes = bytes.subspan(size);
      take();
    }
  }
  void feed(std::string_view text) { feed(bytes_of(text)); }

  // Sends a message like the ps, if that is allowed.
  void answer(Message&& message) {
    if (!peer_.is_ready() || is_closed()) return;
    const ZmtpPeer::Encoded encoded = peer_.encode(std::move(message));
    check(!encoded.head.empty(), "what is sent has a head");
  }

  ZmtpPeer& peer() { return peer_; }
  bool is_closed() const { return !peer_.fault().empty() || peer_.is_over(); }
  // The results, one per line. They must be equal for the same bytes, however these are split.
  const std::vector<std::string>& seen() const { return seen_; }
  // The replies since the last call.
  std::vector<std::byte> take_replies() { return std::exchange(replies_, {}); }

 private:
  void take() {
    while (auto received = peer_.next()) {
      check(!over_, "nothing comes after a fault");
      over_ = received->fault != HeaderFault::kNone;
      const Message& message = received->message;
      std::string line = to_string(received->fault);
      if (!over_) {
        check(peer_.is_ready(), "messages come after the handshake");
        check(message.header.payload_bytes == message.payload.size(), "a payload has the size it says");
        check(reinterpret_cast<std::uintptr_t>(message.payload.bytes().data()) % alignof(float) == 0,
              "a payload is aligned");
        line.append(text_of(encode_header(message.header))).append(text_of(message.payload.bytes()));
      }
      seen_.push_back(std::move(line));
    }
    const std::vector<std::byte> replies = peer_.take_replies();
    replies_.insert(replies_.end(), replies.begin(), replies.end());
  }

  ZmtpPeer peer_;
  std::vector<std::string> seen_;
  std::vector<std::byte> replies_;
  bool over_ = false;
};

}  // namespace distmnist::fuzz
