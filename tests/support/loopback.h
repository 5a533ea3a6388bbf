// TCP on 127.0.0.1 for tests: free ports, a listener that never answers, and a client that can send any bytes, so that
// a server receives data that no regular peer sends.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"

namespace distmnist {

inline sockaddr_in loopback_address(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// Listens on its own port and never answers.
class SilentListener {
 public:
  SilentListener() : descriptor_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = loopback_address(0);
    socklen_t size = sizeof(address);
    if (bind(descriptor_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(descriptor_, 16) != 0 ||
        getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no free port on 127.0.0.1");
    }
    port_ = ntohs(address.sin_port);
  }
  ~SilentListener() { close(descriptor_); }
  SilentListener(const SilentListener&) = delete;
  SilentListener& operator=(const SilentListener&) = delete;

  std::uint16_t port() const { return port_; }
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
  std::uint16_t port_ = 0;
};

// A port that was free a moment ago.
inline std::uint16_t free_port() {
  return SilentListener().port();
}

// A TCP connection without any protocol.
class RawConnection {
 public:
  explicit RawConnection(std::uint16_t port) : descriptor_(socket(AF_INET, SOCK_STREAM, 0)) {
    const sockaddr_in address = loopback_address(port);
    if (connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      throw std::runtime_error("cannot connect to 127.0.0.1");
    }
  }
  ~RawConnection() { close(descriptor_); }
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  // False if the peer has closed the connection.
  bool send(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
    return true;
  }
  bool send(std::string_view text) { return send(bytes_of(text)); }

  // Sends the text again and again, until the peer reads nothing for a while or `most` bytes have been sent. Returns
  // the number of bytes.
  std::size_t pour(std::string_view text, std::size_t most) {
    std::size_t taken = 0, at = 0;
    for (pollfd item{descriptor_, POLLOUT, 0}; taken < most && poll(&item, 1, 500) > 0;) {
      const ssize_t sent = ::send(descriptor_, text.data() + at, text.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent <= 0) break;
      taken += static_cast<std::size_t>(sent);
      at = (at + static_cast<std::size_t>(sent)) % text.size();
    }
    return taken;
  }

  // Exactly `size` bytes; nothing if the peer closes the connection earlier or sends nothing for ten seconds.
  std::string receive(std::size_t size) {
    std::string out;
    while (out.size() < size) {
      pollfd item{descriptor_, POLLIN, 0};
      char buffer[4096];
      const std::size_t wanted = std::min(size - out.size(), sizeof(buffer));
      if (poll(&item, 1, 10'000) <= 0) return {};
      const ssize_t got = recv(descriptor_, buffer, wanted, 0);
      if (got <= 0) return {};
      out.append(buffer, static_cast<std::size_t>(got));
    }
    return out;
  }

 private:
  int descriptor_;
};

// Speaks ZeroMQ's protocol as a DEALER, byte by byte (ZMTP 3.0, rfc.zeromq.org/spec/23), with messages of any number
// and kind of parts. The mechanism is NULL.
class RawDealer {
 public:
  explicit RawDealer(std::uint16_t port) : connection_(port) {
    std::string greeting("\xFF\0\0\0\0\0\0\0\x01\x7F\x03\0NULL", 16);
    greeting.resize(64, '\0');
    connection_.send(greeting);
    const std::string ready(
        "\x05READY\x0BSocket-Type\0\0\0\x06"
        "DEALER",
        28);
    connection_.send(std::string{'\x04', static_cast<char>(ready.size())} + ready);
    connection_.receive(64);
    const std::string answer = connection_.receive(2);
    if (answer.size() != 2 || answer[0] != '\x04') throw std::runtime_error("no ZMTP handshake");
    connection_.receive(static_cast<unsigned char>(answer[1]));
  }

  bool send(const std::vector<std::string>& parts) {
    std::string out;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const char more = i + 1 < parts.size() ? 1 : 0;
      constexpr char kLong = 2;
      out += static_cast<char>(kLong | more);
      for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>((parts[i].size() >> shift) & 0xFF);
      out += parts[i];
    }
    return connection_.send(out);
  }
  std::size_t pour(std::string_view frames, std::size_t most) { return connection_.pour(frames, most); }
  // True if the server has closed the connection.
  bool hung_up() { return connection_.receive(1).empty(); }

 private:
  RawConnection connection_;
};

}  // namespace distmnist
