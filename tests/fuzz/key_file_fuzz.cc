// Reads the text of a key file, or the name of one.
#include <algorithm>
#include <string_view>

#include "lib/wire/key_file.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/input.h"

namespace distmnist::fuzz {
namespace {

void try_text(std::string_view text) {
  const KeyFile file = read_key_text(text);
  if (!file.fault.empty()) {
    check(std::ranges::all_of(file.fault, [](char c) { return c >= ' ' && c <= '~'; }), "a fault is plain words");
    return;
  }
  const KeyOwner owner{KeyOwner::Role::kWorker, 1};
  const KeyFile public_again = read_key_text(public_key_text(owner, file.pair.public_key));
  check(public_again.fault.empty() && public_again.pair.public_key == file.pair.public_key, "a public key stays");
  if (!file.has_secret) return;
  const KeyFile again = read_key_text(secret_key_text(owner, file.pair).text);
  check(again.fault.empty() && again.has_secret && again.pair.secret_key == file.pair.secret_key, "a secret key stays");
}

void try_name(std::string_view name) {
  const auto owner = owner_of(name);
  if (owner) check(file_name_of(*owner) == name, "a name is the owner's, and no other");
}

}  // namespace
}  // namespace distmnist::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace distmnist::fuzz;
  const std::string text = Input::as_text(Input(data, size).rest());
  try_text(text);
  try_name(text);
  return 0;
}
