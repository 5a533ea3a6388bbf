// Keys as text, in the form of ZeroMQ's certificates: what pyzmq's create_certificates() and czmq's zcert write. A
// public file holds one public key, a secret file both halves of a pair.
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

// Whose key it is as the names of files have it: "ps-0", "worker-1", "admin".
std::string file_name_of(const KeyOwner& owner);
// The owner whose name that is, without a suffix; nothing for any other text, "worker-01" included.
std::optional<KeyOwner> owner_of(std::string_view name);

std::string public_key_text(const KeyOwner& owner, const Key& public_key);
SecretText secret_key_text(const KeyOwner& owner, const KeyPair& pair);

struct KeyFile {
  std::string fault;  // what is wrong with the text, "has no public-key"; empty: nothing
  KeyPair pair;
  bool has_secret = false;
};

// Reads either kind; of the sections only curve matters. No part of the text is in a fault. Never throws.
KeyFile read_key_text(std::string_view text);

}  // namespace distmnist
