#include "lib/cluster/allow_list.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>

#include "lib/base/error.h"
#include "lib/base/trimmed.h"

namespace distmnist {
namespace {

constexpr int kMappedBits = 96;  // in front of an IPv4 address
constexpr std::array<std::uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

bool is_ipv4(const AddressBlock& block) {
  return block.bits >= kMappedBits && std::ranges::equal(kMapped, std::span(block.address).first(kMapped.size()));
}

std::optional<AddressBlock> parse_address(std::string_view text) {
  const std::string plain(text.substr(0, text.find('%')));
  AddressBlock block;
  if (inet_pton(AF_INET6, plain.c_str(), block.address.data()) == 1) return block;
  if (inet_pton(AF_INET, plain.c_str(), block.address.data() + kMapped.size()) != 1) return std::nullopt;
  std::ranges::copy(kMapped, block.address.begin());
  return block;
}

bool within(const AddressBlock& block, std::initializer_list<std::string_view> networks) {
  return std::ranges::any_of(networks,
                             [&](std::string_view network) { return parse_address_block(network).contains(block); });
}

}  // namespace

bool AddressBlock::contains(const AddressBlock& other) const {
  if (other.bits < bits) return false;
  const auto whole = static_cast<std::size_t>(bits / 8);
  if (!std::equal(address.begin(), address.begin() + bits / 8, other.address.begin())) return false;
  const int rest = bits % 8;
  return rest == 0 || ((address[whole] ^ other.address[whole]) >> (8 - rest)) == 0;
}

std::string AddressBlock::to_string() const {
  char text[INET6_ADDRSTRLEN];
  const bool ipv4 = is_ipv4(*this);
  inet_ntop(ipv4 ? AF_INET : AF_INET6, ipv4 ? address.data() + kMapped.size() : address.data(), text, sizeof text);
  return bits == 128 ? text : fmt::format("{}/{}", text, ipv4 ? bits - kMappedBits : bits);
}

AddressBlock parse_address_block(std::string_view text) {
  const std::size_t slash = text.find('/');
  auto block = parse_address(text.substr(0, slash));
  if (!block) {
    fail(ExitCode::kUsage, "'{}' is not an address or a block of addresses; give one like 10.0.0.7 or 10.0.0.0/24",
         text);
  }
  if (slash == text.npos) return *block;
  const std::string_view digits = text.substr(slash + 1);
  const bool ipv4 = is_ipv4(*block) && text.find(':') == text.npos;
  const int most = ipv4 ? 32 : 128;
  int bits = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (error != std::errc() || end != digits.data() + digits.size() || bits < 0 || bits > most) {
    fail(ExitCode::kUsage, "'{}': the number after the slash must be a prefix length from 0 to {}", text, most);
  }
  block->bits = ipv4 ? kMappedBits + bits : bits;
  for (int bit = block->bits; bit < 128; ++bit) block->address[static_cast<std::size_t>(bit / 8)] &= ~(0x80 >> bit % 8);
  return *block;
}

std::vector<AddressBlock> parse_address_blocks(std::string_view text) {
  std::vector<AddressBlock> blocks;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    std::string_view piece = trimmed(text.substr(begin, comma - begin));
    do {
      const std::string_view word = piece.substr(0, piece.find_first_of(kBlanks));
      blocks.push_back(parse_address_block(word));
      piece = trimmed(piece.substr(word.size()));
    } while (!piece.empty());
    begin = comma + 1;
  }
  return blocks;
}

bool is_loopback(const AddressBlock& block) {
  return within(block, {"127.0.0.0/8", "::1"});
}

bool is_public(const AddressBlock& block) {
  return !within(block, {"127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
                         "100.64.0.0/10", "fc00::/7", "fe80::/10", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",
                         "198.18.0.0/15", "2001:db8::/32"});
}

void AllowList::add(const AddressBlock& block) {
  if (!is_loopback(block)) return blocks_.push_back(block);
  blocks_.push_back(parse_address_block("127.0.0.0/8"));
  blocks_.push_back(parse_address_block("::1"));
}

bool AllowList::allows(std::string_view address) const {
  const auto parsed = parse_address(address);
  return parsed && std::ranges::any_of(blocks_, [&](const AddressBlock& block) { return block.contains(*parsed); });
}

}  // namespace distmnist
