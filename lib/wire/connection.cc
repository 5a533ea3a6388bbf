#include "lib/wire/connection.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "lib/wire/network_server.h"

namespace distmnist {
namespace {

constexpr std::size_t kMaxPieces = 64;          // of memory, for one system call
constexpr std::size_t kEncodedAhead = 1 << 20;  // bytes of messages that are encoded before they can be written

std::size_t size_of(const Message& message) {
  return kHeaderBytes + message.payload.size();
}

}  // namespace

Connection::Connection(FileDescriptor socket, Sender sender, const ServerKeys* keys, TimeMs now)
    : socket_(std::move(socket)),
      sender_(std::move(sender)),
      zmtp_(keys),
      accepted_ms_(now),
      heard_ms_(now),
      written_ms_(now),
      asks_for_key_(keys != nullptr) {
  take_replies(now);
}

bool Connection::read(TimeMs now) {
  const std::span<std::byte> space = zmtp_.space();
  const ssize_t size = recv(socket_.get(), space.data(), space.size(), 0);
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  if (size == 0) {
    left_without_key_ = asks_for_key_ && !zmtp_.is_ready() && unproven_bytes_ > 0;
    return false;
  }
  heard_ms_ = now;
  if (!kept_) unproven_bytes_ += static_cast<std::size_t>(size);
  zmtp_.advance(static_cast<std::size_t>(size));
  take_replies(now);
  if (zmtp_.is_ready() && !sender_.key) sender_.key = zmtp_.key_owner();
  return zmtp_.fault().empty();
}

std::string_view Connection::fault() const {
  return left_without_key_ ? "hung up when it was asked for a key" : std::string_view(zmtp_.fault());
}

void Connection::keep() {
  kept_ = true;
  zmtp_.set_max_payload(kMaxPayloadBytes);
}

std::optional<Received> Connection::next() {
  std::optional<Received> received = zmtp_.next();
  if (received && !kept_) ++unproven_messages_;
  return received;
}

bool Connection::says_too_much() const {
  return !kept_ && (unproven_messages_ > kMaxUnprovenMessages || unproven_bytes_ > kMaxUnprovenBytes);
}

bool Connection::is_choked() const {
  return unsent_bytes_ > kMaxUnsentBytes || unsent_reply_bytes_ > kMaxUnsentReplies;
}

void Connection::enqueue(Message&& message, TimeMs now) {
  note_waiting(now);
  unsent_bytes_ += size_of(message);
  messages_.push_back(std::move(message));
}

void Connection::take_replies(TimeMs now) {
  std::vector<std::byte> replies = zmtp_.take_replies();
  if (replies.empty()) return;
  note_waiting(now);
  unsent_reply_bytes_ += replies.size();
  add_encoded({std::move(replies), {}, false});
}

void Connection::add_encoded(Outgoing&& outgoing) {
  unsent_bytes_ += outgoing.size();
  encoded_bytes_ += outgoing.size();
  out_.push_back(std::move(outgoing));
}

void Connection::encode_ahead() {
  while (!messages_.empty() && encoded_bytes_ < kEncodedAhead) {
    unsent_bytes_ -= size_of(messages_.front());
    ZmtpPeer::Encoded encoded = zmtp_.encode(std::move(messages_.front()));
    messages_.pop_front();
    add_encoded({std::move(encoded.head), std::move(encoded.payload), true});
  }
}

bool Connection::write(TimeMs now, std::size_t& sent) {
  for (encode_ahead(); !out_.empty(); encode_ahead()) {
    std::array<iovec, kMaxPieces> pieces;
    std::size_t count = 0, skip = written_;
    const auto add = [&](std::span<const std::byte> bytes) {
      const std::size_t passed = std::min(skip, bytes.size());
      skip -= passed;
      bytes = bytes.subspan(passed);
      if (!bytes.empty()) pieces[count++] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
    };
    for (auto outgoing = out_.begin(); outgoing != out_.end() && count + 2 <= kMaxPieces; ++outgoing) {
      add(outgoing->head);
      add(std::as_const(outgoing->payload).bytes());
    }
    msghdr parts{};
    parts.msg_iov = pieces.data();
    parts.msg_iovlen = count;
    const ssize_t size = sendmsg(socket_.get(), &parts, MSG_NOSIGNAL);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    written_ms_ = now;
    unsent_bytes_ -= static_cast<std::size_t>(size);
    encoded_bytes_ -= static_cast<std::size_t>(size);
    written_ += static_cast<std::size_t>(size);
    while (!out_.empty() && written_ >= out_.front().size()) {
      written_ -= out_.front().size();
      sent += out_.front().is_message;
      if (!out_.front().is_message) unsent_reply_bytes_ -= out_.front().size();
      out_.pop_front();
    }
  }
  return true;
}

void Connection::forgive(TimeMs slept_ms) {
  accepted_ms_ += slept_ms;
  heard_ms_ += slept_ms;
  written_ms_ += slept_ms;
}

const char* Connection::overdue(TimeMs now) const {
  if (!zmtp_.is_ready() && now - accepted_ms_ >= kHandshakeMs) return "did not finish the handshake in time";
  if (!kept_ && now - accepted_ms_ >= kFirstWordMs) return "did not greet in time";
  if (has_unsent() && now - written_ms_ >= kStalledMs) return "does not read what is sent to it";
  // A peer that is not read from, because there is no room for its answers, may well be sending. Reading counts as a
  // sign of life.
  if (!paused_ && !is_choked() && now - std::max(heard_ms_, written_ms_) >= kIdleMs)
    return "has been silent for too long";
  return nullptr;
}

}  // namespace distmnist
