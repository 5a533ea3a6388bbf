// AllowList: the addresses from which a ps without keys accepts connections.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace distmnist {

// A block of addresses, "10.0.0.0/8", or a single one. IPv4 addresses are stored in IPv6 form (::ffff:10.0.0.0/104).
struct AddressBlock {
  std::array<std::uint8_t, 16> address{};
  int bits = 128;  // of the address that are significant

  bool contains(const AddressBlock& other) const;
  bool is_one() const { return bits == 128; }  // a single address
  std::string to_string() const;               // "10.0.0.0/8", "10.0.0.1"
  auto operator<=>(const AddressBlock&) const = default;
};

// "10.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"; a scope (%eth0) is ignored. Throws Error (kUsage), which quotes the
// text.
AddressBlock parse_address_block(std::string_view text);

// Several, separated by commas, spaces or line ends. Throws Error (kUsage), also for an empty entry.
std::vector<AddressBlock> parse_address_blocks(std::string_view text);

// Whether the block is in 127.0.0.0/8 or is ::1: addresses of this host itself.
bool is_loopback(const AddressBlock& block);

// Whether the block contains addresses that any host on the internet could have: not loopback, private networks (RFC
// 1918, RFC 4193), link-local, carriers (RFC 6598), or documentation and benchmarking (RFC 6890).
bool is_public(const AddressBlock& block);

class AllowList {
 public:
  // A loopback address stands for all of them.
  void add(const AddressBlock& block);
  // `address` is numeric; false for anything else.
  bool allows(std::string_view address) const;

 private:
  std::vector<AddressBlock> blocks_;
};

}  // namespace distmnist
