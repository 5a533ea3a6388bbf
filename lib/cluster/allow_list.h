// AllowList: the addresses from which a ps without keys takes connections.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace distmnist {

// A block of addresses, "10.0.0.0/8", or a single one. IPv4 addresses are kept as IPv6 has them (::ffff:10.0.0.0/104).
struct AddressBlock {
  std::array<std::uint8_t, 16> address{};
  int bits = 128;  // of the address that count

  bool contains(const AddressBlock& other) const;
  bool is_one() const { return bits == 128; }  // a single address
  std::string to_string() const;               // "10.0.0.0/8", "10.0.0.1"
  auto operator<=>(const AddressBlock&) const = default;
};

// "10.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"; a scope (%eth0) is left out. Error (kUsage) quotes the text.
AddressBlock parse_address_block(std::string_view text);

// Several, separated by commas, with or without spaces, or in lines. Error (kUsage), also for an empty entry.
std::vector<AddressBlock> parse_address_blocks(std::string_view text);

// The addresses of this host itself: 127.0.0.0/8 and ::1.
bool is_loopback(const AddressBlock& block);

// Whether the block has addresses that anybody on the internet could have: outside of loopback, of the private networks
// (RFC 1918, RFC 4193), of the link, of carriers (RFC 6598), and for documents and measurements (RFC 6890).
bool is_public(const AddressBlock& block);

class AllowList {
 public:
  // An address of loopback stands for all of them.
  void add(const AddressBlock& block);
  // `address` is numeric; false for anything else.
  bool allows(std::string_view address) const;

 private:
  std::vector<AddressBlock> blocks_;
};

}  // namespace distmnist
