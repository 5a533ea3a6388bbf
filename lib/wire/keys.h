// CURVE keys: how the tasks of a cluster identify each other: Curve25519 key pairs, as in libsodium's
// crypto_box. lib/wire/key_file.h stores them in files; lib/wire/curve.h uses them on a connection.
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

// The secret half is overwritten when the pair is destroyed. It must never be in a log or a message.
struct KeyPair {
  Key public_key{};
  Key secret_key{};

  ~KeyPair();
};

// The keys of a ps: its own pair, and the owner of each known public key. A process without one of them is not a peer.
struct ServerKeys {
  KeyPair own;
  std::map<Key, KeyOwner> known;
};

// A client's keys for its connection to one ps.
struct ClientKeys {
  KeyPair own;
  Key server{};  // the public key of that ps
};

// Throws Error (kSecurity) if libsodium cannot be used, for example because it has no random numbers. Thread-safe; may
// be called any number of times. Every function that needs it calls it.
void require_crypto();

KeyPair make_key_pair();

Key public_key_of(const Key& secret_key);

// False for the few points of the curve that give every peer the same secret.
bool is_usable(const Key& public_key);

// Overwrites bytes that were secret; the compiler does not optimize it away.
void wipe(std::span<std::byte> bytes);

// A text that is overwritten when it is destroyed. Its memory must be reserved before it holds a secret: a text that
// grows leaves copies behind, and so does one that is short enough for a std::string to store inline.
struct SecretText {
  std::string text;

  explicit SecretText(std::string from) : text(std::move(from)) {}
  ~SecretText() { wipe(std::as_writable_bytes(std::span(text))); }
  SecretText(SecretText&&) = default;
  SecretText& operator=(SecretText&&) = delete;
};

}  // namespace distmnist
