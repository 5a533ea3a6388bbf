#include "lib/ps/ps_link.h"

#include <algorithm>
#include <utility>

#include "lib/base/log.h"

namespace distmnist {
namespace {

constexpr TimeMs kProbeEveryMs = 200;
constexpr TimeMs kSuspectMs = 2'000;  // silence after which the listener is probed

}  // namespace

PsLink::PsLink(WireContext& context, HostPort address, std::string fixed_endpoint, ExchangeConfig config,
               const ValuesSink& sink, std::optional<ClientKeys> keys)
    : context_(context),
      address_(std::move(address)),
      fixed_endpoint_(std::move(fixed_endpoint)),
      keys_(std::move(keys)),
      sink_(sink),
      last_probe_ms_(-kSuspectMs),
      exchange(std::move(config), *this) {}

void PsLink::receive(TimeMs now) {
  while (socket_ && !exchange.failure()) {
    auto received = socket_->receive();
    if (!received) return;
    received_bytes_ += static_cast<std::int64_t>(kHeaderBytes + received->message.payload.size());
    exchange.on_message(std::move(*received), now);
  }
}

void PsLink::tend(TimeMs now) {
  if (socket_ && !socket_->broken().empty()) {
    receive(now);  // What came before it broke.
    if (socket_->keys_differ()) return exchange.on_keys_differ(socket_->broken());
    if (exchange.waiting()) exchange.on_broken(std::string(socket_->broken()), now);
  }
  if (now - last_probe_ms_ >= kProbeEveryMs && exchange.wants_connection()) {
    last_probe_ms_ = now;
    connect(now);
  } else if (now - last_probe_ms_ >= kSuspectMs && exchange.silent_ms(now) >= kSuspectMs) {
    last_probe_ms_ = now;
    const Listener listener = find(find_listener);
    if (listener.endpoint.empty()) exchange.on_broken(listener.why_not, now);
  }
  exchange.on_tick(now);
}

void PsLink::connect(TimeMs now) {
  const Listener listener = find(find_ps);
  endpoint_ = listener.endpoint;
  if (endpoint_.empty()) return exchange.on_unreachable(listener.why_not, now);
  if (!listener.warning.empty() && !std::exchange(warned_, true)) log_warning("{}", listener.warning);
  socket_.emplace(context_, endpoint_, keys_);
  exchange.on_connected(now);
}

Listener PsLink::find(Listener (*look)(const HostPort& address)) const {
  return fixed_endpoint_.empty() ? look(address_) : Listener{fixed_endpoint_, {}, {}};
}

void PsLink::send(const Header& header, std::span<const std::byte> payload) {
  if (!socket_) return;
  sent_bytes_ += static_cast<std::int64_t>(kHeaderBytes + payload.size());
  const bool stays_valid = header.type != MessageType::kLeave;
  if (fixed_endpoint_.empty() && stays_valid) return socket_->send(Message{header, Frame::borrow(payload)}), void();
  // Within a process ZeroMQ hands the very bytes over, and a ps may keep a gradient for longer than its worker does.
  Frame copy = Frame::allocate(payload.size());
  std::ranges::copy(payload, copy.bytes().begin());
  socket_->send(Message{header, std::move(copy)});
}

void PsLink::reconnect() {
  if (socket_) socket_->discard();  // The request will be sent again; its memory must not go out twice.
  socket_.reset();
}

void PsLink::report(const std::string& line) {
  log_warning("{}", line);
}

void PsLink::notice(const std::string& line) {
  log_info("{}", line);
}

}  // namespace distmnist
