#include "lib/cluster/allow_list.h"

#include "lib/base/error.h"
#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

namespace distmnist {

TEST_CASE("a block contains the addresses that share its first bits, in both families") {
  AllowList list;
  for (const AddressBlock& block : parse_address_blocks("10.1.0.0/16,192.168.7.9,fd00:1::/32,172.16.0.8/29"))
    list.add(block);
  for (const char* inside :
       {"10.1.0.0", "10.1.255.255", "192.168.7.9", "fd00:1::", "fd00:1:ffff::1", "172.16.0.15", "::ffff:10.1.2.3"}) {
    INFO(inside);
    CHECK(list.allows(inside));
  }
  for (const char* outside : {"10.2.0.0", "10.0.255.255", "192.168.7.8", "fd00:2::", "172.16.0.16", "127.0.0.1", "::1",
                              "", "host", "10.1.0.0/16", "::ffff:10.2.2.3"}) {
    INFO(outside);
    CHECK_FALSE(list.allows(outside));
  }
}

TEST_CASE("a loopback address matches all loopback addresses") {
  AllowList list;
  list.add(parse_address_block("127.0.0.1"));
  CHECK(list.allows("127.8.9.10"));
  CHECK(list.allows("::1"));
  CHECK_FALSE(list.allows("128.0.0.1"));
}

TEST_CASE("the block of all addresses is valid") {
  AllowList list;
  list.add(parse_address_block("0.0.0.0/0"));
  CHECK(list.allows("203.0.113.9"));
  CHECK_FALSE(list.allows("2001:db8::1"));
  list.add(parse_address_block("::/0"));
  CHECK(list.allows("2001:db8::1"));
}

TEST_CASE("an invalid block is refused with its text") {
  for (const char* text : {"", "host", "10.0.0", "10.0.0.1/33", "10.0.0.1/-1", "10.0.0.1/", "10.0.0.1/8x", "::1/129",
                           "10.0.0.1,", "10.0.0.1/8/8", "300.1.1.1"}) {
    INFO(text);
    CHECK(fails_with(ExitCode::kUsage, "'", [&] { parse_address_blocks(text); }));
  }
}

TEST_CASE("a block is printed in its usual form") {
  for (const char* text : {"10.0.0.0/8", "10.0.0.7", "fd00::/8", "::1", "0.0.0.0/0", "::/0"}) {
    CHECK(parse_address_block(text).to_string() == text);
  }
  CHECK(parse_address_block("10.1.2.3/8").to_string() == "10.0.0.0/8");
  CHECK(parse_address_block("fe80::1%eth0").to_string() == "fe80::1");
}

TEST_CASE("a block is public if an internet address can be in it") {
  for (const char* text :
       {"127.0.0.1", "::1", "10.2.3.4", "172.31.255.255", "192.168.0.0/16", "169.254.1.1", "100.64.0.1", "fd12::1",
        "fe80::1", "10.0.0.0/8", "192.0.2.7", "203.0.113.1", "2001:db8::1"}) {
    INFO(text);
    CHECK_FALSE(is_public(parse_address_block(text)));
  }
  for (const char* text : {"8.8.8.8", "172.32.0.1", "192.169.0.1", "203.0.112.1", "2606::1", "0.0.0.0/0", "10.0.0.0/7",
                           "::/0", "100.128.0.1"}) {
    INFO(text);
    CHECK(is_public(parse_address_block(text)));
  }
}

}  // namespace distmnist
