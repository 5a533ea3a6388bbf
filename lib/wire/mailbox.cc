#include "lib/wire/mailbox.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

namespace distmnist {

Signal::Signal() : descriptor_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (!descriptor_) throw std::system_error(errno, std::generic_category(), "eventfd");
}

void Signal::set() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(descriptor_.get(), &one, sizeof one);  // Full means set.
}

void Signal::clear() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t size = read(descriptor_.get(), &count, sizeof count);  // Empty means clear.
}

// ---- The server's thread ----

void Mailbox::add_peer(const Route& route) {
  const std::lock_guard lock(mutex_);
  peers_.try_emplace(route);
}

void Mailbox::drop_peer(const Route& route) {
  const std::lock_guard lock(mutex_);
  peers_.erase(route);
}

Mailbox::Put Mailbox::put(const Sender& from, Received&& received) {
  const std::lock_guard lock(mutex_);
  Peer& peer = peers_[from.route];
  const std::size_t newcomer_bytes = peer.kept ? 0 : sizeof(Letter) + received.message.payload.size();
  if (newcomers_bytes_ + newcomer_bytes > limits_.newcomers_bytes && newcomer_bytes > 0) return Put::kNoRoom;
  const std::size_t bytes = received.message.payload.size();
  letters_.push_back({from, std::move(received), newcomer_bytes});
  newcomers_bytes_ += newcomer_bytes;
  ++peer.waiting_messages;
  peer.waiting_bytes += bytes;
  if (letters_.size() == 1) letters_ready_.set();
  // It stays paused until a kReadOn order, even if messages are taken before.
  if (peer.waiting_messages >= limits_.waiting_messages || peer.waiting_bytes >= limits_.waiting_bytes) {
    peer.paused = true;
  }
  return peer.paused ? Put::kPause : Put::kReadOn;
}

void Mailbox::note_sent(const Route& route) {
  const std::lock_guard lock(mutex_);
  const auto at = peers_.find(route);
  if (at != peers_.end()) --at->second.unsent_messages;
}

std::vector<Mailbox::Order> Mailbox::take_orders() {
  const std::lock_guard lock(mutex_);
  orders_ready_.clear();
  return std::exchange(orders_, {});
}

// ---- The owner ----

bool Mailbox::poll(int timeout_ms) {
  {
    const std::lock_guard lock(mutex_);
    if (!letters_.empty()) return true;
    letters_ready_.clear();
  }
  pollfd entry{letters_ready_.descriptor(), POLLIN, 0};
  return ::poll(&entry, 1, timeout_ms) > 0;
}

std::optional<Received> Mailbox::take(Sender& from) {
  const std::lock_guard lock(mutex_);
  if (letters_.empty()) return std::nullopt;
  from = std::move(letters_.front().from);
  Received received = std::move(letters_.front().received);
  newcomers_bytes_ -= letters_.front().newcomer_bytes;
  letters_.pop_front();
  const auto at = peers_.find(from.route);
  if (at == peers_.end()) return received;  // It has gone since then, but its message counts.
  Peer& peer = at->second;
  --peer.waiting_messages;
  peer.waiting_bytes -= received.message.payload.size();
  const bool low =
      peer.waiting_messages <= limits_.waiting_messages / 2 && peer.waiting_bytes <= limits_.waiting_bytes / 2;
  if (peer.paused && low) {
    peer.paused = false;
    push_order({Action::kReadOn, from.route});
  }
  return received;
}

bool Mailbox::order(Order&& order) {
  const std::lock_guard lock(mutex_);
  const auto at = peers_.find(order.route);
  if (at == peers_.end()) return false;
  if (order.action == Action::kSend && ++at->second.unsent_messages > limits_.unsent_messages) {
    --at->second.unsent_messages;
    return false;
  }
  if (order.action == Action::kKeep && std::exchange(at->second.kept, true)) return true;
  push_order(std::move(order));
  return true;
}

void Mailbox::push_order(Order&& order) {
  orders_.push_back(std::move(order));
  if (orders_.size() == 1) orders_ready_.set();
}

}  // namespace distmnist
