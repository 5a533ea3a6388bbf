#include "lib/wire/transport.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include <zmq.hpp>

#include "lib/base/error.h"
#include "lib/base/thread_trial.h"
#include "lib/math/crc32c.h"
#include "lib/wire/curve.h"

namespace distmnist {
namespace {

// Messages a peer may have queued. A whole push or reply is a few dozen at most models; a peer that reads nothing costs
// no more than this many frames.
constexpr int kHighWaterMark = 4096;

constexpr int kThreadsOfContext = 3;  // the reaper, one for I/O, and one to spare

bool over_tcp(const std::string& endpoint) {
  return endpoint.starts_with("tcp://");
}

void set_common_options(zmq::socket_t& socket) {
  socket.set(zmq::sockopt::linger, kLingerMs);
  socket.set(zmq::sockopt::sndhwm, kHighWaterMark);
  socket.set(zmq::sockopt::rcvhwm, kHighWaterMark);
  socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(kMaxPayloadBytes));
  socket.set(zmq::sockopt::ipv6, true);
}

void set_keys(zmq::socket_t& socket, const ClientKeys& keys) {
  require_curve();
  socket.set(zmq::sockopt::curve_serverkey, zmq::buffer(keys.server));
  socket.set(zmq::sockopt::curve_publickey, zmq::buffer(keys.own.public_key));
  socket.set(zmq::sockopt::curve_secretkey, zmq::buffer(keys.own.secret_key));
  // ZeroMQ measures what is sealed.
  socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(kMaxPayloadBytes + kCurveMessageBytes));
}

// The message's own memory as a frame, or an aligned copy where ZeroMQ placed a small message in the middle of a
// buffer.
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

// Hands the frame's memory to ZeroMQ, which frees it once it has been written to the network.
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

Received to_received(const zmq::message_t& header, zmq::message_t&& payload) {
  DecodedHeader decoded = decode_header(view(header), payload.size());
  Received out{{decoded.header, {}}, decoded.fault};
  if (out.fault != HeaderFault::kNone) return out;
  if ((decoded.header.flags & kPayloadChecksum) != 0 && crc32c(view(payload)) != decoded.header.payload_crc) {
    out.fault = HeaderFault::kChecksum;
    return out;
  }
  out.message.payload = to_frame(std::move(payload));
  return out;
}

// ZeroMQ looks for its own commands in any call, and a signal that comes then ends the call before it has done
// anything. Only waits are ended by signals here: a message whose other parts are on their way must not be left at
// that.
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

// Reads what is left of a multi-part message; only what this protocol sends is kept.
void drain(zmq::socket_t& socket) {
  zmq::message_t rest;
  while (socket.get(zmq::sockopt::rcvmore)) {
    if (!receive_part(socket, rest)) return;
  }
}

// [header][payload], after the routing id where there is one. Null where the parts are not two.
std::optional<Received> receive_parts(zmq::socket_t& socket) {
  zmq::message_t header, payload;
  if (!receive_part(socket, header)) return std::nullopt;
  if (!socket.get(zmq::sockopt::rcvmore)) return Received{{}, HeaderFault::kSize};
  if (!receive_part(socket, payload)) return std::nullopt;
  if (socket.get(zmq::sockopt::rcvmore)) {
    drain(socket);
    return Received{{}, HeaderFault::kSize};
  }
  return to_received(header, std::move(payload));
}

// Memory on one host is not checked; what crosses a network is, beyond TCP's 16-bit sum. Control records always are.
void seal(Message& message) {
  Header& header = message.header;
  header.payload_bytes = static_cast<std::uint32_t>(message.payload.size());
  header.flags &= ~kPayloadChecksum;
  if (header.dtype == WireDtype::kRecord || (header.flags & kChecksumData) != 0) {
    header.flags |= kPayloadChecksum;
    header.payload_crc = crc32c(message.payload.bytes());
  }
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
  try_threads(kThreadsOfContext);  // ZeroMQ ends the process where it cannot start its own.
  const zmq::socket_t first(impl_->context, zmq::socket_type::dealer);  // With it they start.
}
WireContext::~WireContext() = default;

struct ServerSocket::Impl {
  explicit Impl(zmq::context_t& context) : socket(context, zmq::socket_type::router) {}
  zmq::socket_t socket;
  std::vector<std::string> bound;
};

ServerSocket::ServerSocket(WireContext& context, const std::vector<std::string>& endpoints)
    : impl_(std::make_unique<Impl>(context.impl().context)) {
  set_common_options(impl_->socket);
  // A reply to a peer that has gone is an error we see, not a message that vanishes.
  impl_->socket.set(zmq::sockopt::router_mandatory, true);
  for (const std::string& endpoint : endpoints) {
    try {
      uninterrupted([&] { impl_->socket.bind(endpoint); });
      impl_->bound.push_back(endpoint);
    } catch (const zmq::error_t& error) {
      if (!impl_->bound.empty()) continue;
      fail(error.num() == EADDRINUSE ? ExitCode::kConflict : ExitCode::kUsage,
           "cannot listen on {}: {}; stop the other process or choose another port", endpoint, error.what());
    }
  }
}
ServerSocket::~ServerSocket() = default;

const std::vector<std::string>& ServerSocket::bound() const {
  return impl_->bound;
}

bool ServerSocket::poll(int timeout_ms) {
  zmq::pollitem_t item{impl_->socket.handle(), 0, ZMQ_POLLIN, 0};
  try {
    return zmq::poll(&item, 1, std::chrono::milliseconds(timeout_ms)) > 0;
  } catch (const zmq::error_t& error) {
    if (error.num() == EINTR) return false;
    throw;
  }
}

std::optional<Received> ServerSocket::receive(Sender& from) {
  zmq::message_t route;
  if (!receive_part(impl_->socket, route)) return std::nullopt;
  from = Sender{{static_cast<const char*>(route.data()), route.size()}};
  if (!impl_->socket.get(zmq::sockopt::rcvmore)) return Received{{}, HeaderFault::kSize};
  return receive_parts(impl_->socket);
}

bool ServerSocket::send(const Route& to, Message&& message) {
  try {
    if (!send_part(impl_->socket, zmq::buffer(to), zmq::send_flags::sndmore)) return false;
    return send_parts(impl_->socket, std::move(message));
  } catch (const zmq::error_t&) {
    return false;  // EHOSTUNREACH: the peer has gone; its lease will tell.
  }
}

void require_curve() {
  if (zmq_has("curve") != 0) return;
  fail(ExitCode::kSecurity,
       "this libzmq has no CURVE, so keys cannot be used with it; install one that was built with libsodium, as "
       "Debian's libzmq5 is");
}

struct ClientSocket::Impl {
  explicit Impl(zmq::context_t& context) : socket(context, zmq::socket_type::dealer) {}
  zmq::socket_t socket;
  bool checksum_data = true;
};

ClientSocket::ClientSocket(WireContext& context, const std::string& endpoint, const std::optional<ClientKeys>& keys)
    : impl_(std::make_unique<Impl>(context.impl().context)) {
  set_common_options(impl_->socket);
  if (keys) set_keys(impl_->socket, *keys);
  impl_->checksum_data = over_tcp(endpoint);
  uninterrupted([&] { impl_->socket.connect(endpoint); });
}
ClientSocket::~ClientSocket() = default;
ClientSocket::ClientSocket(ClientSocket&&) noexcept = default;
ClientSocket& ClientSocket::operator=(ClientSocket&&) noexcept = default;

std::optional<Received> ClientSocket::receive() {
  return receive_parts(impl_->socket);
}

bool ClientSocket::send(Message&& message) {
  if (impl_->checksum_data) message.header.flags |= kChecksumData;
  return send_parts(impl_->socket, std::move(message));
}

void ClientSocket::discard() {
  impl_->socket.set(zmq::sockopt::linger, 0);
}

void ClientSocket::poll(const std::vector<ClientSocket*>& sockets, int timeout_ms) {
  std::vector<zmq::pollitem_t> items;
  for (ClientSocket* socket : sockets) {
    if (socket != nullptr) items.push_back({socket->impl_->socket.handle(), 0, ZMQ_POLLIN, 0});
  }
  try {
    zmq::poll(items.data(), items.size(), std::chrono::milliseconds(timeout_ms));
  } catch (const zmq::error_t& error) {
    if (error.num() != EINTR) throw;
  }
}

}  // namespace distmnist
