// Drives the server's half of CURVE with a client in the same thread that can send every invalid message. It is written
// from rfc.zeromq.org 25 and 26 without the server's code. Use curve_listener.h to test against ZeroMQ's own client.
#pragma once

#include <sodium.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/wire/keys.h"

namespace distmnist {

using Body = std::vector<std::byte>;

inline Body body_of(std::string_view text) {
  const auto bytes = bytes_of(text);
  return {bytes.begin(), bytes.end()};
}

// "Socket-Type" and a value, in the format of metadata.
inline std::string property(std::string_view name, std::string_view value) {
  std::string text(1, static_cast<char>(name.size()));
  text += name;
  text += {'\0', '\0', static_cast<char>(value.size() >> 8), static_cast<char>(value.size())};
  return text += value;
}

class CurveClient {
 public:
  CurveClient(const KeyPair& own, const Key& server)
      : claimed(own.public_key), vouched_server(server), own_(own), server_(server) {}

  // A regular client does not change these.
  std::uint64_t number = 1;  // of the next command
  std::string metadata = property("Socket-Type", "DEALER") + property("Identity", "");
  Key claimed;  // the key that INITIATE claims
  Key vouched_server;
  std::optional<Key> vouched_short;  // none: the client's own short-term key

  Body hello() {
    const std::string nonce_end = next_number();
    const std::string zeros(64, '\0');
    return body_of("\5HELLO" + std::string("\1\0", 2) + std::string(72, '\0') + text(short_.public_key) + nonce_end +
                   box(zeros, "CurveZMQHELLO---" + nonce_end, server_, short_.secret_key));
  }

  // False if the WELCOME is not from the server.
  bool take_welcome(std::span<const std::byte> body) {
    const std::string welcome(text_of(body));
    if (welcome.size() != 168 || !welcome.starts_with("\7WELCOME")) return false;
    const auto plain = open_box(welcome.substr(24), "WELCOME-" + welcome.substr(8, 16), server_, short_.secret_key);
    if (!plain) return false;
    std::memcpy(server_short_.data(), plain->data(), server_short_.size());
    cookie = plain->substr(32);
    return true;
  }

  std::string cookie;  // 96 bytes from the WELCOME

  Body initiate() {
    const std::string vouch_end = random(16);
    const std::string vouch = box(text(vouched_short.value_or(short_.public_key)) + text(vouched_server),
                                  "VOUCH---" + vouch_end, server_short_, own_.secret_key);
    const std::string nonce_end = next_number();
    return body_of("\x8INITIATE" + cookie + nonce_end +
                   box(text(claimed) + vouch_end + vouch + metadata, "CurveZMQINITIATE" + nonce_end, server_short_,
                       short_.secret_key));
  }

  // The server's metadata; nothing if the READY is not from the server.
  std::optional<std::string> take_ready(std::span<const std::byte> body) {
    const std::string ready(text_of(body));
    if (ready.size() < 30 || !ready.starts_with("\5READY") || !take_server_number(ready.substr(6, 8)))
      return std::nullopt;
    return open_box(ready.substr(14), "CurveZMQREADY---" + ready.substr(6, 8), server_short_, short_.secret_key);
  }

  Body message(std::string_view flags_and_payload) {
    const std::string nonce_end = next_number();
    return body_of("\7MESSAGE" + nonce_end +
                   box(flags_and_payload, "CurveZMQMESSAGEC" + nonce_end, server_short_, short_.secret_key));
  }

  // Flags and payload.
  std::optional<std::string> open(std::span<const std::byte> body) {
    const std::string message(text_of(body));
    if (message.size() < 33 || !message.starts_with("\7MESSAGE") || !take_server_number(message.substr(8, 8)))
      return std::nullopt;
    return open_box(message.substr(16), "CurveZMQMESSAGES" + message.substr(8, 8), server_short_, short_.secret_key);
  }

 private:
  static std::string text(const Key& key) { return {reinterpret_cast<const char*>(key.data()), key.size()}; }
  static const unsigned char* raw(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

  static std::string random(std::size_t size) {
    std::string bytes(size, '\0');
    randombytes_buf(bytes.data(), size);
    return bytes;
  }

  static std::string box(std::string_view plain, const std::string& nonce, const Key& to, const Key& secret) {
    std::string sealed(plain.size() + crypto_box_MACBYTES, '\0');
    if (crypto_box_easy(reinterpret_cast<unsigned char*>(sealed.data()), raw(plain), plain.size(), raw(nonce),
                        to.data(), secret.data()) != 0) {
      return {};
    }
    return sealed;
  }
  static std::optional<std::string> open_box(const std::string& sealed, const std::string& nonce, const Key& from,
                                             const Key& secret) {
    std::string plain(sealed.size() - crypto_box_MACBYTES, '\0');
    if (crypto_box_open_easy(reinterpret_cast<unsigned char*>(plain.data()), raw(sealed), sealed.size(), raw(nonce),
                             from.data(), secret.data()) != 0) {
      return std::nullopt;
    }
    return plain;
  }

  std::string next_number() {
    std::string bytes;
    for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(number >> shift);
    ++number;
    return bytes;
  }
  // The server's numbers must also increase.
  bool take_server_number(const std::string& bytes) {
    const bool rises = bytes > last_of_server_;
    last_of_server_ = bytes;
    return rises;
  }

  KeyPair own_;
  Key server_;
  KeyPair short_ = make_key_pair();
  Key server_short_{};
  std::string last_of_server_ = std::string(8, '\0');
};

}  // namespace distmnist
