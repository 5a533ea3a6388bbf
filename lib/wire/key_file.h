// Key files: keys as text, in the form of ZeroMQ's certificates, as written by pyzmq's create_certificates() and czmq's
// zcert. A public file holds one public key, a secret file both halves of a pair.
//
//   metadata
//       task = "worker-1"
//   curve
//       public-key = "40 characters of Z85"
//       secret-key = "40 characters of Z85"
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "lib/wire/keys.h"

namespace distmnist {

inline constexpr std::size_t kMaxKeyFileBytes = 4096;
inline constexpr std::string_view kPublicSuffix = ".key";
inline constexpr std::string_view kSecretSuffix = ".key_secret";

// The owner of a key, as in the names of files: "ps-0", "worker-1", "admin".
std::string file_name_of(const KeyOwner& owner);
// The owner with this name (without a suffix); empty for any other text, including "worker-01".
std::optional<KeyOwner> owner_of(std::string_view name);

std::string public_key_text(const KeyOwner& owner, const Key& public_key);
SecretText secret_key_text(const KeyOwner& owner, const KeyPair& pair);

struct KeyFile {
  std::string fault;  // what is wrong with the text, "has no public-key"; empty: no fault
  KeyPair pair;
  bool has_secret = false;
};

// Reads either kind. Only the section curve matters. A fault never quotes the text. Never throws.
KeyFile read_key_text(std::string_view text);

}  // namespace distmnist
