#include "lib/wire/keys.h"

#include <sodium.h>

#include "lib/base/error.h"

namespace distmnist {

static_assert(kKeyBytes == crypto_box_PUBLICKEYBYTES && kKeyBytes == crypto_box_SECRETKEYBYTES);

KeyPair::~KeyPair() {
  sodium_memzero(secret_key.data(), secret_key.size());
}

void require_crypto() {
  if (sodium_init() < 0) {
    fail(ExitCode::kSecurity, "libsodium cannot be initialised; check that /dev/urandom exists and can be read");
  }
}

KeyPair make_key_pair() {
  require_crypto();
  KeyPair pair;
  crypto_box_keypair(pair.public_key.data(), pair.secret_key.data());
  return pair;
}

Key public_key_of(const Key& secret_key) {
  Key public_key{};
  crypto_scalarmult_base(public_key.data(), secret_key.data());
  return public_key;
}

bool is_usable(const Key& public_key) {
  constexpr Key kAnySecret{1};
  std::array<std::uint8_t, crypto_box_BEFORENMBYTES> shared{};
  return crypto_box_beforenm(shared.data(), public_key.data(), kAnySecret.data()) == 0;
}

void wipe(std::span<std::byte> bytes) {
  sodium_memzero(bytes.data(), bytes.size());
}

}  // namespace distmnist
