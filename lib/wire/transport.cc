#include "lib/wire/transport.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <string_view>
#include <utility>

#include <fmt/core.h>
#include <zmq.hpp>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/socket_user.h"
#include "lib/base/tcp_bytes.h"
#include "lib/base/thread_trial.h"
#include "lib/wire/curve.h"

namespace distmnist {
namespace {

// Messages that may be queued for a peer. A whole push or reply is a few dozen for most models. A peer that reads
// nothing costs at most this many frames.
constexpr int kHighWaterMark = 4096;

constexpr int kNeverMs = 24 * 60 * 60 * 1000;
constexpr int kHandshakeIntervalMs = 2'000;
constexpr int kHeartbeatTimeoutMs = 30'000;  // a ps that is stopped for a while keeps its connections

constexpr int kThreadsOfContext = 3;  // the reaper, one for I/O, and one spare

constexpr std::string_view kSameHost = "ipc://", kInProcess = "inproc://";

// Options of all sockets.
void set_options(zmq::socket_t& socket) {
  socket.set(zmq::sockopt::linger, kLingerMs);
  socket.set(zmq::sockopt::sndhwm, kHighWaterMark);
  socket.set(zmq::sockopt::rcvhwm, kHighWaterMark);
  socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(kMaxPayloadBytes));
  socket.set(zmq::sockopt::ipv6, true);
  // A socket is one connection. (-1, which means never, would also discard messages that have arrived and not been
  // taken.)
  socket.set(zmq::sockopt::reconnect_ivl, kNeverMs);
  socket.set(zmq::sockopt::handshake_ivl, kHandshakeIntervalMs);
  socket.set(zmq::sockopt::heartbeat_ivl, kHeartbeatIntervalMs);
  socket.set(zmq::sockopt::heartbeat_timeout, kHeartbeatTimeoutMs);
  socket.set(zmq::sockopt::tcp_keepalive, 1);
  socket.set(zmq::sockopt::tcp_keepalive_idle, 30);
  socket.set(zmq::sockopt::tcp_keepalive_intvl, 10);
  socket.set(zmq::sockopt::tcp_keepalive_cnt, 3);
}

void set_keys(zmq::socket_t& socket, const ClientKeys& keys) {
  require_curve();
  socket.set(zmq::sockopt::curve_serverkey, zmq::buffer(keys.server));
  socket.set(zmq::sockopt::curve_publickey, zmq::buffer(keys.own.public_key));
  socket.set(zmq::sockopt::curve_secretkey, zmq::buffer(keys.own.secret_key));
  // ZeroMQ measures the encrypted size.
  socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(kMaxPayloadBytes + kCurveMessageBytes));
}

// The message's own memory as a frame, or an aligned copy if ZeroMQ put a small message in the middle of a buffer.
Frame to_frame(zmq::message_t&& message) {
  const std::size_t size = message.size();
  if (size == 0) return {};
  if (reinterpret_cast<std::uintptr_t>(message.data()) % alignof(float) != 0) {
    Frame copy = Frame::allocate(size);
    std::memcpy(copy.bytes().data(), message.data(), size);
    return copy;
  }
  auto* owned = new zmq::message_t(std::move(message));
  return Frame({static_cast<std::byte*>(owned->data()), size},
               Frame::Owner(owned, [](void* p) { delete static_cast<zmq::message_t*>(p); }));
}

// Passes the frame's memory to ZeroMQ, which frees it after it has been written to the network.
zmq::message_t to_zmq(Frame&& frame) {
  if (frame.size() == 0) return {};
  const std::span<std::byte> bytes = frame.bytes();
  auto* owner = new Frame::Owner(frame.release());
  return zmq::message_t(
      bytes.data(), bytes.size(), [](void*, void* hint) { delete static_cast<Frame::Owner*>(hint); }, owner);
}

std::span<const std::byte> view(const zmq::message_t& message) {
  return {static_cast<const std::byte*>(message.data()), message.size()};
}

// ZeroMQ handles its own commands in any call, and a signal at that time ends the call before it has done anything.
// Here signals end only waits: a message must not be abandoned while its other parts are on their way.
template <class Call>
auto uninterrupted(const Call& call) {
  while (true) {
    try {
      return call();
    } catch (const zmq::error_t& error) {
      if (error.num() != EINTR) throw;
    }
  }
}

bool receive_part(zmq::socket_t& socket, zmq::message_t& part) {
  return uninterrupted([&] { return socket.recv(part, zmq::recv_flags::dontwait); }).has_value();
}

template <class Part>
bool send_part(zmq::socket_t& socket, Part&& part, zmq::send_flags more = zmq::send_flags::none) {
  return uninterrupted([&] { return socket.send(part, more | zmq::send_flags::dontwait); }).has_value();
}

// Reads the rest of a multi-part message and discards it: this protocol does not send more parts.
void drain(zmq::socket_t& socket) {
  zmq::message_t rest;
  while (socket.get(zmq::sockopt::rcvmore)) {
    if (!receive_part(socket, rest)) return;
  }
}

// [header][payload], after the routing id if there is one. Returns a fault if there are not exactly two parts.
std::optional<Received> receive_parts(zmq::socket_t& socket) {
  zmq::message_t header, payload;
  if (!receive_part(socket, header)) return std::nullopt;
  if (!socket.get(zmq::sockopt::rcvmore)) return Received{{}, HeaderFault::kSize};
  if (!receive_part(socket, payload)) return std::nullopt;
  if (socket.get(zmq::sockopt::rcvmore)) {
    drain(socket);
    return Received{{}, HeaderFault::kSize};
  }
  const DecodedHeader decoded = decode_header(view(header), payload.size());
  if (decoded.fault != HeaderFault::kNone) return Received{{decoded.header, {}}, decoded.fault};
  return make_received(decoded.header, to_frame(std::move(payload)));
}

bool send_parts(zmq::socket_t& socket, Message&& message) {
  seal(message);
  const auto header = encode_header(message.header);
  if (!send_part(socket, zmq::buffer(header), zmq::send_flags::sndmore)) return false;
  return send_part(socket, to_zmq(std::move(message.payload)));
}

}  // namespace

struct WireContext::Impl {
  zmq::context_t context{1};
};

WireContext::WireContext() : impl_(std::make_unique<Impl>()) {
  try_threads(kThreadsOfContext);  // ZeroMQ ends the process if it cannot start its own threads.
  const zmq::socket_t first(impl_->context, zmq::socket_type::dealer);  // Starts them.
}
WireContext::~WireContext() = default;

// ---- For clients in this process ----

namespace {

class InProcessServer : public ServerSocket {
 public:
  InProcessServer(zmq::context_t& context, const std::string& endpoint)
      : socket_(context, zmq::socket_type::router), bound_{endpoint} {
    set_options(socket_);
    // Makes a reply to a peer that has gone an error instead of dropping it silently.
    socket_.set(zmq::sockopt::router_mandatory, true);
    try {
      uninterrupted([&] { socket_.bind(endpoint); });
    } catch (const zmq::error_t& error) {
      fail(ExitCode::kConflict, "cannot listen on {}: {}", endpoint, error.what());
    }
  }

  const std::vector<std::string>& bound() const override { return bound_; }

  bool poll(int timeout_ms) override {
    zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
    try {
      return zmq::poll(&item, 1, std::chrono::milliseconds(timeout_ms)) > 0;
    } catch (const zmq::error_t& error) {
      if (error.num() == EINTR) return false;
      throw;
    }
  }

  std::optional<Received> receive(Sender& from) override {
    zmq::message_t route;
    if (!receive_part(socket_, route)) return std::nullopt;
    from = Sender{{static_cast<const char*>(route.data()), route.size()}};
    if (!socket_.get(zmq::sockopt::rcvmore)) return Received{{}, HeaderFault::kSize};
    return receive_parts(socket_);
  }

  bool send(const Route& to, Message&& message) override {
    try {
      if (!send_part(socket_, zmq::buffer(to), zmq::send_flags::sndmore)) return false;
      return send_parts(socket_, std::move(message));
    } catch (const zmq::error_t&) {
      return false;  // EHOSTUNREACH: the peer has gone, and its lease will expire.
    }
  }

  void keep(const Route&) override {}
  void cut(const Route&) override {}

 private:
  zmq::socket_t socket_;
  std::vector<std::string> bound_;
};

}  // namespace

std::unique_ptr<ServerSocket> make_in_process_server(WireContext& context, const std::string& endpoint) {
  return std::make_unique<InProcessServer>(context.impl().context, endpoint);
}

// ---- Clients ----

namespace {

constexpr int kWatchedEvents = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED |
                               ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                               ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;

}  // namespace

// What ZeroMQ reports about a socket's connection.
class ConnectionWatch {
 public:
  ConnectionWatch(zmq::context_t& context, zmq::socket_t& socket, bool has_keys)
      : events_(context, zmq::socket_type::pair), has_keys_(has_keys) {
    static std::atomic<std::uint64_t> made = 0;
    const std::string name = fmt::format("inproc://distmnist-watch-{}", ++made);
    if (zmq_socket_monitor(socket.handle(), name.c_str(), kWatchedEvents) != 0) throw zmq::error_t();
    events_.set(zmq::sockopt::linger, 0);
    uninterrupted([&] { events_.connect(name); });
  }

  zmq::socket_t& events() { return events_; }

  // Reads the events so far.
  void look() {
    zmq::message_t event, endpoint;
    while (receive_part(events_, event)) {
      receive_part(events_, endpoint);
      if (event.size() != sizeof(std::uint16_t) + sizeof(std::int32_t)) continue;
      std::uint16_t kind = 0;
      std::int32_t value = 0;
      std::memcpy(&kind, event.data(), sizeof kind);
      std::memcpy(&value, static_cast<const char*>(event.data()) + sizeof kind, sizeof value);
      note(kind, value);
    }
  }
  const std::string& broken() const { return broken_; }
  KeyTrouble key_trouble() const { return key_trouble_; }
  bool connected() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  void set_broken(std::string why) {
    if (broken_.empty()) broken_ = std::move(why);
  }

 private:
  void note(int kind, int value) {
    // Once the connection is over, the number may belong to a different one.
    descriptor_ = kind == ZMQ_EVENT_CONNECTED ? value : -1;
    switch (kind) {
      case ZMQ_EVENT_CONNECTED:
        return;
      case ZMQ_EVENT_CLOSED:
        return set_broken("cannot be connected to");
      case ZMQ_EVENT_DISCONNECTED:
        return set_broken("closed the connection");
      case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        key_trouble_ = KeyTrouble::kUnknown;
        return set_broken("does not recognize this task's key, or has a different key from the one expected");
      default:
        if (value != ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH) {
          return set_broken("does not finish ZeroMQ's handshake");
        }
        key_trouble_ = has_keys_ ? KeyTrouble::kNoneThere : KeyTrouble::kNoneHere;
        return set_broken(has_keys_ ? "has no keys, but this task has" : "asks for a key, but this task has none");
    }
  }

  zmq::socket_t events_;
  const bool has_keys_;
  KeyTrouble key_trouble_ = KeyTrouble::kNone;
  int descriptor_ = -1;
  std::string broken_;
};

void require_curve() {
  if (zmq_has("curve") != 0) return;
  fail(ExitCode::kSecurity,
       "this libzmq does not support CURVE, which keys need; install one that was built with libsodium, such as "
       "Debian's libzmq5");
}

struct ClientSocket::Impl {
  Impl(zmq::context_t& context, const std::string& endpoint, const std::optional<ClientKeys>& keys)
      : socket(context, zmq::socket_type::dealer) {
    set_options(socket);
    if (keys) set_keys(socket, *keys);
    checksum_data = !endpoint.starts_with(kSameHost) && !endpoint.starts_with(kInProcess);
    if (!endpoint.starts_with(kInProcess)) watch.emplace(context, socket, keys.has_value());
    uninterrupted([&] { socket.connect(endpoint); });
    if (endpoint.starts_with(kSameHost)) check_user();
  }

  // Nothing has been sent yet, and a broken connection is not made again: the process at the other end now receives
  // everything sent later.
  void check_user() {
    const TimeMs deadline = monotonic_ms() + kSameHostMs;
    while (!watch->connected() && watch->broken().empty() && monotonic_ms() < deadline) {
      wait_for({{watch->events().handle(), 0, ZMQ_POLLIN, 0}}, static_cast<int>(deadline - monotonic_ms()));
      watch->look();
    }
    if (!watch->connected()) return hang_up(socket, "does not accept the connection");
    const int user = user_at_other_end(watch->descriptor());
    if (!is_trusted_user(user))
      hang_up(socket, fmt::format("is a process of user {} on this host, which is not trusted", user));
  }

  void hang_up(zmq::socket_t& which, std::string why) {
    watch->set_broken(std::move(why));
    which.set(zmq::sockopt::linger, 0);
    which.close();
  }

  static void wait_for(std::vector<zmq::pollitem_t> items, int timeout_ms) {
    try {
      zmq::poll(items.data(), items.size(), std::chrono::milliseconds(timeout_ms));
    } catch (const zmq::error_t& error) {
      if (error.num() != EINTR) throw;
    }
  }

  bool is_open() const { return socket.handle() != nullptr; }

  zmq::socket_t socket;
  std::optional<ConnectionWatch> watch;  // absent within a process
  bool checksum_data = true;
};

ClientSocket::ClientSocket(WireContext& context, const std::string& endpoint, const std::optional<ClientKeys>& keys)
    : impl_(std::make_unique<Impl>(context.impl().context, endpoint, keys)) {}
ClientSocket::~ClientSocket() = default;
ClientSocket::ClientSocket(ClientSocket&&) noexcept = default;
ClientSocket& ClientSocket::operator=(ClientSocket&&) noexcept = default;

std::optional<Received> ClientSocket::receive() {
  return impl_->is_open() ? receive_parts(impl_->socket) : std::nullopt;
}

bool ClientSocket::send(Message&& message) {
  if (!impl_->is_open()) return false;
  if (impl_->checksum_data) message.header.flags |= kChecksumData;
  return send_parts(impl_->socket, std::move(message));
}

void ClientSocket::discard() {
  if (impl_->is_open()) impl_->socket.set(zmq::sockopt::linger, 0);
}

const std::string& ClientSocket::broken() {
  static const std::string whole;
  if (!impl_->watch) return whole;
  impl_->watch->look();
  if (!impl_->watch->broken().empty()) discard();
  return impl_->watch->broken();
}

KeyTrouble ClientSocket::key_trouble() const {
  return impl_->watch ? impl_->watch->key_trouble() : KeyTrouble::kNone;
}

std::uint64_t ClientSocket::moved_bytes() const {
  if (!impl_->is_open() || !impl_->watch || !impl_->watch->connected()) return 0;
  return tcp_bytes_moved(impl_->watch->descriptor());
}

void ClientSocket::poll(const std::vector<ClientSocket*>& sockets, int timeout_ms) {
  std::vector<zmq::pollitem_t> items;
  for (ClientSocket* socket : sockets) {
    if (socket == nullptr || !socket->impl_->is_open()) continue;
    items.push_back({socket->impl_->socket.handle(), 0, ZMQ_POLLIN, 0});
    if (socket->impl_->watch) items.push_back({socket->impl_->watch->events().handle(), 0, ZMQ_POLLIN, 0});
  }
  Impl::wait_for(std::move(items), timeout_ms);
}

}  // namespace distmnist
