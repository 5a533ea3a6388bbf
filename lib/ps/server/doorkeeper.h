// Doorkeeper: who may connect to a ps over TCP: the hosts of its cluster, and addresses that the user adds.
// Names are looked up by a thread of its own, at the start and when somebody comes who is not known, for a name may
// mean another address by then.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/time_ms.h"
#include "lib/cluster/address.h"
#include "lib/cluster/allow_list.h"
#include "lib/cluster/cluster_spec.h"

namespace distmnist {

inline constexpr TimeMs kFirstLookUpMs = 1'000;  // that its maker waits for the first one
inline constexpr TimeMs kLookUpAgainMs = 5'000;  // at least, between two look-ups of all names

struct AccessRules {
  std::vector<HostPort> hosts;        // of all tasks of the cluster; unknown ones are passed over
  std::vector<AddressBlock> allow{};  // --allow
  bool insecure = false;              // public addresses are let in, too
  bool has_keys = false;              // ... as with keys they always are
  TimeMs look_up_again_ms = kLookUpAgainMs;
  // All addresses that a host's name means now; empty where it means none.
  std::function<std::vector<std::string>(const HostPort& host)> resolve = resolve_all_ips;
};

class Doorkeeper {
 public:
  // Error (kSecurity): a public address among the rules, without `insecure` or keys.
  explicit Doorkeeper(AccessRules rules);
  ~Doorkeeper();
  Doorkeeper(const Doorkeeper&) = delete;
  Doorkeeper& operator=(const Doorkeeper&) = delete;

  // Whether a peer at this numeric address is let in. Where not, the names are soon looked up again: it may be on its
  // next try. Thread-safe, never waits.
  bool lets_in(std::string_view address);
  // What is wrong with an address that a name has turned out to mean, for an Error (kSecurity). Thread-safe.
  std::optional<std::string> fault();
  // What the user should know, once each: that names of hosts meant nothing when they were looked up first, and that
  // public addresses are let in without keys. Thread-safe.
  std::vector<std::string> take_warnings();

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;  // with a thread that may be waiting for a name server when this goes
};

// Error (kSecurity) where a ps that has no keys would listen at a public address, or take peers from there; both
// remedies are named.
void require_private(const AddressBlock& block, std::string_view whose);

}  // namespace distmnist
