// Keys of CURVE, by which the tasks of a cluster know one another: Curve25519 key pairs, as crypto_box of libsodium has
// them. How they are kept in files: lib/wire/key_file.h; what is done with them on a connection: lib/wire/curve.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "lib/wire/sender.h"

namespace distmnist {

inline constexpr std::size_t kKeyBytes = 32;
using Key = std::array<std::uint8_t, kKeyBytes>;

// The secret half is overwritten when the pair goes, and is never to be in a log or a message.
struct KeyPair {
  Key public_key{};
  Key secret_key{};

  ~KeyPair();
};

// What a ps has: its own pair, and whose each public key is. Who has none of them is no peer.
struct ServerKeys {
  KeyPair own;
  std::map<Key, KeyOwner> known;
};

// What a client has for its connection to one ps.
struct ClientKeys {
  KeyPair own;
  Key server{};  // the public key of that ps
};

// Error (kSecurity) where libsodium cannot be used, for example for want of random numbers. Any thread, any number of
// times; each function that needs it has called it.
void require_crypto();

KeyPair make_key_pair();

Key public_key_of(const Key& secret_key);

// False for the few points of the curve with which everybody would have the same secret.
bool is_usable(const Key& public_key);

// Overwrites bytes that were secret; the compiler does not leave it out.
void wipe(std::span<std::byte> bytes);

// A text that is overwritten when it goes. Its memory is reserved before anything secret is in it: a text that grows
// leaves copies, and so does one that is shorter than a std::string keeps within itself.
struct SecretText {
  std::string text;

  explicit SecretText(std::string from) : text(std::move(from)) {}
  ~SecretText() { wipe(std::as_writable_bytes(std::span(text))); }
  SecretText(SecretText&&) = default;
  SecretText& operator=(SecretText&&) = delete;
};

}  // namespace distmnist
