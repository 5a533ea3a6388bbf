#include "lib/ps/client/ps_link.h"

#include <algorithm>
#include <utility>

#include "lib/base/clock.h"
#include "lib/base/log.h"

namespace distmnist {
namespace {

// A search that takes longer has met a name server that does not answer: a host that does not takes two seconds.
constexpr TimeMs kSlowSearchMs = 4'000;

}  // namespace

PsLink::PsLink(WireContext& context, std::size_t ps, PsAddress address)
    : context_(context), ps_(ps), address_(std::move(address)) {}

void PsLink::receive(WorkerSession& session, TimeMs now) {
  while (socket_ && !session.exchange(ps_).failure()) {
    auto received = socket_->receive();
    if (!received) return;
    const Message& message = received->message;
    received_bytes_ += static_cast<std::int64_t>(kHeaderBytes + message.payload.size());
    if (message.header.type == MessageType::kParameters && !first_values_s_) first_values_s_ = monotonic_s();
    session.on_message(ps_, std::move(*received), now);
  }
}

void PsLink::tend(WorkerSession& session, TimeMs now) {
  receive(session, now);
  Exchange& exchange = session.exchange(ps_);
  if (socket_ && !socket_->broken().empty()) {
    receive(session, now);  // What arrived before it broke.
    if (socket_->key_trouble() != KeyTrouble::kNone) return exchange.on_keys_differ(socket_->broken());
    if (exchange.connected()) exchange.on_broken(std::string(socket_->broken()), now);
  }
  if (exchange.wants_connection()) search(exchange, now);
  watch_progress(exchange, now);
}

void PsLink::watch_progress(Exchange& exchange, TimeMs now) {
  if (now - looked_ms_ < kLookEveryMs) return;
  looked_ms_ = now;
  const std::uint64_t moved = socket_ ? socket_->moved_bytes() : 0;
  if (moved < moved_bytes_ + kProgressBytes) return;
  moved_bytes_ = moved;
  exchange.on_progress(now);
}

void PsLink::search(Exchange& exchange, TimeMs now) {
  if (!address_.fixed_endpoint.empty()) return connect(exchange, {address_.fixed_endpoint, {}, {}}, now);
  if (!search_ && now - last_try_ms_ < kTryEveryMs) return;
  if (!search_) {
    last_try_ms_ = now;
    search_.emplace([address = address_.address] { return find_ps(address); });
  }
  if (const auto found = search_->take()) {
    search_.reset();
    connect(exchange, *found, now);
  } else if (const TimeMs waited = now - last_try_ms_; waited >= kSlowSearchMs) {
    exchange.on_unreachable(
        fmt::format("cannot be looked up: nothing has answered for {} s, neither a name server nor the host",
                    waited / 1000),
        now);
  }
}

void PsLink::connect(Exchange& exchange, const Listener& listener, TimeMs now) {
  endpoint_ = listener.endpoint;
  if (endpoint_.empty()) return exchange.on_unreachable(listener.why_not, now);
  if (!listener.warning.empty() && !std::exchange(warned_, true)) log_warning("{}", listener.warning);
  socket_.emplace(context_, endpoint_, address_.keys);
  moved_bytes_ = 0;
  exchange.on_connected(now);
}

void PsLink::send(const Header& header, std::span<const std::byte> payload, Lifetime lifetime) {
  if (!socket_) return;
  sent_bytes_ += static_cast<std::int64_t>(kHeaderBytes + payload.size());
  const bool borrows = address_.fixed_endpoint.empty() && lifetime == Lifetime::kUntilAnswered;
  if (borrows) return socket_->send(Message{header, Frame::borrow(payload)}), void();
  // Within a process, ZeroMQ passes on the same bytes without a copy, and a ps may keep a gradient longer than its
  // worker does.
  Frame copy = Frame::allocate(payload.size());
  std::ranges::copy(payload, copy.bytes().begin());
  socket_->send(Message{header, std::move(copy)});
}

void PsLink::reconnect() {
  if (socket_) socket_->discard();  // The request will be resent; its memory must not be sent twice.
  socket_.reset();
}

void PsLink::report(const std::string& line) {
  log_warning("{}", line);
}

void PsLink::notice(const std::string& line) {
  log_info("{}", line);
}

}  // namespace distmnist
