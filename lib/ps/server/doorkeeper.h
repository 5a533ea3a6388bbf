// Doorkeeper: decides which hosts may connect to a ps over TCP: the hosts of its cluster, and addresses that the user
// adds. A separate thread resolves the names at startup and again when an unknown host connects, because a name may
// have a different address by then.
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

inline constexpr TimeMs kFirstLookUpMs = 1'000;  // how long the constructor waits for the first lookup
inline constexpr TimeMs kLookUpAgainMs = 5'000;  // the least time between two lookups of all names

struct AccessRules {
  std::vector<HostPort> hosts;        // of all tasks of the cluster; unknown ones are skipped
  std::vector<AddressBlock> allow{};  // --allow
  bool insecure = false;              // public addresses may connect, too
  bool has_keys = false;              // with keys, public addresses may always connect
  TimeMs look_up_again_ms = kLookUpAgainMs;
  // All current addresses of a host's name; empty if it has none.
  std::function<std::vector<std::string>(const HostPort& host)> resolve = resolve_all_ips;
};

class Doorkeeper {
 public:
  // Throws Error (kSecurity) if the rules contain a public address without `insecure` or keys.
  explicit Doorkeeper(AccessRules rules);
  ~Doorkeeper();
  Doorkeeper(const Doorkeeper&) = delete;
  Doorkeeper& operator=(const Doorkeeper&) = delete;

  // Whether a peer at this numeric address may connect. If not, the names are soon resolved again, and its next attempt
  // may succeed. Thread-safe; never blocks.
  bool lets_in(std::string_view address);
  // What is wrong with an address that a name has resolved to, for an Error (kSecurity). Thread-safe.
  std::optional<std::string> fault();
  // Warnings for the user, each returned once: that names of hosts could not be resolved at the first lookup, and that
  // public addresses may connect without keys. Thread-safe.
  std::vector<std::string> take_warnings();

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;  // shared with a thread that may still wait for a name server after this object is
                                    // gone
};

// Throws Error (kSecurity) if a ps without keys would listen at a public address or accept peers from one. The message
// names both remedies.
void require_private(const AddressBlock& block, std::string_view whose);

}  // namespace distmnist
