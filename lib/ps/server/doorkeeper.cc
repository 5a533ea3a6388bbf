#include "lib/ps/server/doorkeeper.h"

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/join.h"

namespace distmnist {
namespace {

std::string public_text(const AddressBlock& block, std::string_view whose) {
  return fmt::format(
      "{} {} ({}): without keys, anyone there could join the run and read its traffic; make keys with distmnist keygen "
      "and give every task --keys, or accept the risk with --insecure",
      block.to_string(), block.is_one() ? "is a public address" : "has public addresses in it", whose);
}

constexpr std::size_t kMaxNamed = 5;

std::string unknown_text(std::vector<std::string> hosts) {
  const std::size_t count = hosts.size();
  if (count > kMaxNamed) hosts.resize(kMaxNamed);
  const std::string more = count > kMaxNamed ? fmt::format(" and {} more", count - kMaxNamed) : "";
  return fmt::format("{}{} cannot be resolved on this host; connections from there are refused until {} can be",
                     join(hosts, ", "), more, count > 1 ? "they" : "it");
}

}  // namespace

void require_private(const AddressBlock& block, std::string_view whose) {
  if (is_public(block)) throw Error(ExitCode::kSecurity, public_text(block, whose));
}

struct Doorkeeper::Shared {
  explicit Shared(AccessRules access) : rules(std::move(access)) {}
  void run();
  void look_up();

  const AccessRules rules;
  std::map<std::string, std::vector<std::string>> addresses;  // the last known ones of each name; used only by the
                                                              // thread
  std::mutex mutex;
  std::condition_variable changed;
  AllowList list;
  std::optional<std::string> fault;
  std::vector<std::string> warnings;
  bool looked_up = false, stranger_came = false, stopping = false;
};

Doorkeeper::Doorkeeper(AccessRules rules) : shared_(std::make_shared<Shared>(std::move(rules))) {
  if (!shared_->rules.insecure && !shared_->rules.has_keys) {
    for (const AddressBlock& block : shared_->rules.allow) require_private(block, "--allow");
  }
  std::thread([shared = shared_] { shared->run(); }).detach();
  std::unique_lock lock(shared_->mutex);
  shared_->changed.wait_for(lock, std::chrono::milliseconds(kFirstLookUpMs), [this] { return shared_->looked_up; });
}

Doorkeeper::~Doorkeeper() {
  const std::lock_guard lock(shared_->mutex);
  shared_->stopping = true;
  shared_->changed.notify_all();
}

bool Doorkeeper::lets_in(std::string_view address) {
  const std::lock_guard lock(shared_->mutex);
  if (shared_->list.allows(address)) return true;
  shared_->stranger_came = true;
  shared_->changed.notify_all();
  return false;
}

std::optional<std::string> Doorkeeper::fault() {
  const std::lock_guard lock(shared_->mutex);
  return shared_->fault;
}

std::vector<std::string> Doorkeeper::take_warnings() {
  const std::lock_guard lock(shared_->mutex);
  return std::exchange(shared_->warnings, {});
}

void Doorkeeper::Shared::run() {
  while (true) {
    look_up();
    std::unique_lock lock(mutex);
    stranger_came = false;
    changed.wait_for(lock, std::chrono::milliseconds(rules.look_up_again_ms), [this] { return stopping; });
    changed.wait(lock, [this] { return stopping || stranger_came; });
    if (stopping) return;
  }
}

void Doorkeeper::Shared::look_up() {
  AllowList found;
  std::optional<std::string> wrong;
  std::vector<std::string> unknown;
  bool first = false;
  {
    const std::lock_guard lock(mutex);
    first = !looked_up;
  }
  bool lets_in_public = false;
  for (const AddressBlock& block : rules.allow) {
    found.add(block);
    lets_in_public |= is_public(block);
  }
  for (const HostPort& host : rules.hosts) {
    if (!is_known(host)) continue;
    // If a name server fails for a while, no host is removed from the list.
    const std::vector<std::string> ips = rules.resolve(host);
    std::vector<std::string>& known = addresses[host.host];
    if (!ips.empty()) known = ips;
    if (known.empty()) unknown.push_back(host.to_string());
    for (const std::string& ip : known) {
      const AddressBlock block = parse_address_block(ip);
      if (!rules.insecure && !rules.has_keys && is_public(block)) {
        if (first) wrong = public_text(block, host.to_string());  // Later lookups only keep it out.
      } else {
        found.add(block);
        lets_in_public |= is_public(block);
      }
    }
  }
  const std::lock_guard lock(mutex);
  list = std::move(found);
  if (first) fault = std::move(wrong);
  if (first && !unknown.empty()) warnings.push_back(unknown_text(unknown));
  if (first && lets_in_public && !rules.has_keys) {
    warnings.emplace_back(
        "public addresses are let in without keys (--insecure), so anyone there can join the run and read and change "
        "its traffic; make keys for --keys with distmnist keygen");
  }
  looked_up = true;
  changed.notify_all();
}

}  // namespace distmnist
