// Drives our half of CURVE as a server over TCP on 127.0.0.1, one connection at a time, in a thread that waits for
// bytes: ZMTP 3.1 that returns every message. Use it for tests with ZeroMQ's own client, and NetworkServer to test the
// real server.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/wire/curve.h"
#include "tests/support/loopback.h"

namespace distmnist {

class CurveListener {
 public:
  explicit CurveListener(const ServerKeys& keys) : keys_(keys) {
    thread_ = std::thread([this] { run(); });
  }
  ~CurveListener() {
    stopping_ = true;
    thread_.join();
  }
  CurveListener(const CurveListener&) = delete;
  CurveListener& operator=(const CurveListener&) = delete;

  std::uint16_t port() const { return listener_.port(); }
  // The owner of the key of the last admitted connection.
  std::optional<KeyOwner> peer() const {
    const std::lock_guard lock(mutex_);
    return peer_;
  }
  // True if every payload was aligned for floats.
  bool aligned() const { return aligned_; }
  int num_connections() const { return num_connections_; }
  // The first fault of any connection; kNone if none happens.
  CurveFault wait_for_fault() const {
    for (const TimeMs began = monotonic_ms(); fault_ == CurveFault::kNone && monotonic_ms() - began < 20'000;)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return fault_;
  }

 private:
  static constexpr std::uint8_t kLong = 2, kCommand = 4;  // flags of a frame
  static constexpr std::size_t kAlignment = alignof(float);

  struct Body {
    std::uint8_t flags = 0;
    std::unique_ptr<std::byte[]> memory;
    std::span<std::byte> bytes;
  };

  void run() {
    while (!stopping_) {
      const int connection = next_connection();
      if (connection < 0) continue;
      ++num_connections_;
      serve(connection);
      close(connection);
    }
  }

  int next_connection() const {
    pollfd waiting{listener_.descriptor(), POLLIN, 0};
    return poll(&waiting, 1, 20) > 0 ? accept(listener_.descriptor(), nullptr, nullptr) : -1;
  }

  void serve(int connection) {
    std::string greeting("\xff\0\0\0\0\0\0\0\1\x7f\3\1CURVE", 17);
    greeting.resize(64, '\0');
    greeting[32] = 1;  // the server's part
    std::array<std::byte, 64> theirs;
    if (!write(connection, bytes_of(greeting)) || !read(connection, theirs)) return;
    CurveServer curve(keys_);
    while (auto body = next_frame(connection)) {
      if ((body->flags & kCommand) != 0 ? !answer_command(connection, curve, *body) : !echo(connection, curve, *body))
        return;
    }
  }

  bool answer_command(int connection, CurveServer& curve, Body& body) {
    const CurveServer::Reply reply = curve.on_command(body.bytes);
    if (reply.fault != CurveFault::kNone) {
      note(reply.fault);
      write_frame(connection, kCommand, bytes_of(kCurveRefusal));
      return false;
    }
    if (curve.ready()) {
      const std::lock_guard lock(mutex_);
      peer_ = curve.peer();
    }
    return write_frame(connection, kCommand, reply.body);
  }

  bool echo(int connection, CurveServer& curve, Body& body) {
    const CurveServer::Opened opened = curve.open(body.bytes);
    if (opened.fault != CurveFault::kNone) {
      note(opened.fault);
      return false;
    }
    if (reinterpret_cast<std::uintptr_t>(opened.payload.data()) % kAlignment != 0) aligned_ = false;
    std::vector<std::byte> sealed(opened.payload.size() + kCurveMessageBytes);
    curve.seal(opened.flags, opened.payload, sealed);
    return write_frame(connection, 0, sealed);
  }

  void note(CurveFault fault) {
    CurveFault none = CurveFault::kNone;
    fault_.compare_exchange_strong(none, fault);
  }

  std::optional<Body> next_frame(int connection) const {
    std::array<std::byte, 1> flags;
    if (!read(connection, flags)) return std::nullopt;
    Body body;
    body.flags = static_cast<std::uint8_t>(flags[0]);
    std::array<std::byte, 8> size_bytes{};
    const std::size_t size_size = (body.flags & kLong) != 0 ? 8 : 1;
    if (!read(connection, std::span(size_bytes).first(size_size))) return std::nullopt;
    std::size_t size = 0;
    for (const std::byte byte : std::span(size_bytes).first(size_size))
      size = size << 8 | static_cast<std::uint8_t>(byte);
    if (size > (2u << 20)) return std::nullopt;
    // Aligns the payload of a MESSAGE.
    constexpr std::size_t kBefore = kAlignment - kCurveMessageBytes % kAlignment;
    body.memory = std::make_unique<std::byte[]>(kBefore + size);
    body.bytes = {body.memory.get() + kBefore, size};
    if (!read(connection, body.bytes)) return std::nullopt;
    return body;
  }

  static bool write_frame(int connection, std::uint8_t flags, std::span<const std::byte> body) {
    std::string head(1, static_cast<char>(flags | (body.size() > 255 ? kLong : 0)));
    for (int shift = body.size() > 255 ? 56 : 0; shift >= 0; shift -= 8)
      head += static_cast<char>(body.size() >> shift);
    return write(connection, bytes_of(head)) && write(connection, body);
  }

  bool read(int connection, std::span<std::byte> bytes) const {
    while (!bytes.empty()) {
      pollfd waiting{connection, POLLIN, 0};
      if (stopping_) return false;
      if (poll(&waiting, 1, 20) <= 0) continue;
      const ssize_t got = recv(connection, bytes.data(), bytes.size(), 0);
      if (got <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
    return true;
  }
  static bool write(int connection, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
    return true;
  }

  const ServerKeys& keys_;
  SilentListener listener_;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> aligned_ = true;
  std::atomic<int> num_connections_ = 0;
  std::atomic<CurveFault> fault_ = CurveFault::kNone;
  mutable std::mutex mutex_;
  std::optional<KeyOwner> peer_;
  std::thread thread_;
};

}  // namespace distmnist
