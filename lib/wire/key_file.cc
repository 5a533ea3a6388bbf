#include "lib/wire/key_file.h"

#include <array>
#include <charconv>
#include <cstdint>

#include "lib/base/trimmed.h"
#include "lib/wire/z85.h"

namespace distmnist {
namespace {

constexpr std::size_t kTextBytes = 512;  // longer than any text written here

// "ps-0", "worker-1": the number without leading zeros.
std::optional<std::uint32_t> index_in(std::string_view name, std::string_view job) {
  if (!name.starts_with(job)) return std::nullopt;
  const std::string_view digits = name.substr(job.size());
  if (digits.empty() || (digits.size() > 1 && digits.front() == '0')) return std::nullopt;
  std::uint32_t index = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return index;
}

// Removes the next line from the text and returns it.
std::string_view next_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text = end == text.npos ? std::string_view() : text.substr(end + 1);
  return line;
}

std::string_view without_quotes(std::string_view value) {
  const bool quoted =
      value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.front() == value.back();
  return quoted ? value.substr(1, value.size() - 2) : value;
}

// Reads one half of a pair. `seen`: whether it occurred before. Returns what is wrong; empty if nothing is.
std::string take_key(std::string_view value, const char* name, bool& seen, Key& key) {
  if (seen) return fmt::format("has {} twice", name);
  seen = true;
  if (decode_z85(without_quotes(value), key)) return {};
  return fmt::format("has a {} that is not 40 characters of Z85", name);
}

void add_head(std::string& text, std::string_view remark, const KeyOwner& owner) {
  text += "# ";
  text += remark;
  text += "\n\nmetadata\n    task = \"";
  text += file_name_of(owner);
  text += "\"\ncurve\n";
}

void add_key(std::string& text, std::string_view name, const Key& key) {
  std::array<char, kZ85KeyChars> chars;
  encode_z85(key, chars);
  text += "    ";
  text += name;
  text += " = \"";
  text.append(chars.data(), chars.size());
  text += "\"\n";
  wipe(std::as_writable_bytes(std::span(chars)));
}

}  // namespace

std::string file_name_of(const KeyOwner& owner) {
  if (owner.role == KeyOwner::Role::kAdmin) return "admin";
  return fmt::format("{}-{}", owner.role == KeyOwner::Role::kPs ? "ps" : "worker", owner.index);
}

std::optional<KeyOwner> owner_of(std::string_view name) {
  using enum KeyOwner::Role;
  if (name == "admin") return KeyOwner{kAdmin, 0};
  if (const auto index = index_in(name, "ps-")) return KeyOwner{kPs, *index};
  if (const auto index = index_in(name, "worker-")) return KeyOwner{kWorker, *index};
  return std::nullopt;
}

std::string public_key_text(const KeyOwner& owner, const Key& public_key) {
  std::string text;
  add_head(text, "The public key of a distmnist task, for all other tasks.", owner);
  add_key(text, "public-key", public_key);
  return text;
}

SecretText secret_key_text(const KeyOwner& owner, const KeyPair& pair) {
  std::string empty;
  empty.reserve(kTextBytes);
  SecretText secret(std::move(empty));
  add_head(secret.text, "The SECRET key of a distmnist task, for its own host only.", owner);
  add_key(secret.text, "public-key", pair.public_key);
  add_key(secret.text, "secret-key", pair.secret_key);
  return secret;
}

KeyFile read_key_text(std::string_view text) {
  KeyFile file;
  if (text.size() > kMaxKeyFileBytes) {
    file.fault = fmt::format("has more than {} bytes", kMaxKeyFileBytes);
    return file;
  }
  bool in_curve = false, has_public = false;
  while (!text.empty() && file.fault.empty()) {
    const std::string_view line = next_line(text), words = trimmed(line);
    if (words.empty() || words.front() == '#') continue;
    if (kBlanks.find(line.front()) == kBlanks.npos) {  // a section, or a name and a value outside any section
      in_curve = words == "curve";
      continue;
    }
    const std::size_t equals = words.find('=');
    if (!in_curve || equals == words.npos) continue;
    const std::string_view name = trimmed(words.substr(0, equals)), value = trimmed(words.substr(equals + 1));
    if (name == "public-key") file.fault = take_key(value, "public-key", has_public, file.pair.public_key);
    if (name == "secret-key") file.fault = take_key(value, "secret-key", file.has_secret, file.pair.secret_key);
  }
  if (file.fault.empty() && !has_public) file.fault = "has no public-key in a section named curve";
  return file;
}

}  // namespace distmnist
