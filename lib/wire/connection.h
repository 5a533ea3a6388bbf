// Connection: one peer of a NetworkServer: its socket, what it says, and what is to be said to it. Belongs to the
// server's thread.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string_view>
#include <vector>

#include "lib/base/file.h"
#include "lib/base/time_ms.h"
#include "lib/wire/frame.h"
#include "lib/wire/message.h"
#include "lib/wire/sender.h"
#include "lib/wire/zmtp.h"

namespace distmnist {

class Connection {
 public:
  // `keys`: of the server, where it has keys; they outlive this.
  Connection(FileDescriptor socket, Sender sender, const ServerKeys* keys, TimeMs now);

  int descriptor() const { return socket_.get(); }
  const Sender& sender() const { return sender_; }
  // Reads once, up to a message's worth. False where the connection is over: the peer has closed it, or broke the
  // protocol; fault() tells.
  bool read(TimeMs now);
  std::optional<Received> next();
  std::string_view fault() const;

  void keep();
  // Whether somebody who is not kept has said so much that the connection has to end.
  bool says_too_much() const;

  void enqueue(Message&& message, TimeMs now);
  // Writes what the socket takes. False where the connection is broken. `sent` counts messages that have gone out
  // whole.
  bool write(TimeMs now, std::size_t& sent);
  bool has_unsent() const { return !out_.empty() || !messages_.empty(); }
  // Whether so much is to be sent that nothing more is to be read.
  bool is_choked() const;
  // After what is to be sent, the connection is closed.
  void close_when_sent() { closing_ = true; }
  bool is_closing() const { return closing_; }

  // The server itself has not run for so long: nobody else is to blame for that.
  void forgive(TimeMs slept_ms);
  // Why the connection has to end now; null while it may go on.
  const char* overdue(TimeMs now) const;

  bool wants_to_read() const { return !paused_ && !closing_ && !zmtp_.is_over(); }
  bool is_paused() const { return paused_; }
  void pause() { paused_ = true; }
  void go_on() { paused_ = false; }

 private:
  // Bytes that go out together: the payload of a message comes last. `is_message` is false for handshake and
  // heartbeats.
  struct Outgoing {
    std::vector<std::byte> head;
    Frame payload;
    bool is_message = true;
    std::size_t size() const { return head.size() + payload.size(); }
  };
  void take_replies(TimeMs now);
  // A stall counts from when there is something to be taken.
  void note_waiting(TimeMs now) {
    if (!has_unsent()) written_ms_ = now;
  }
  void add_encoded(Outgoing&& outgoing);
  // Only what is about to be written is encoded: with keys that makes a copy, and numbers it.
  void encode_ahead();

  FileDescriptor socket_;
  Sender sender_;
  ZmtpPeer zmtp_;
  TimeMs accepted_ms_, heard_ms_, written_ms_;
  bool kept_ = false, closing_ = false, paused_ = false;
  bool asks_for_key_, left_without_key_ = false;
  std::deque<Message> messages_;  // that are to be encoded
  std::deque<Outgoing> out_;      // that goes out before them
  std::size_t written_ = 0;       // of the first of these
  std::size_t unsent_bytes_ = 0, encoded_bytes_ = 0, unsent_reply_bytes_ = 0;
  std::size_t unproven_messages_ = 0, unproven_bytes_ = 0;  // that came before keep()
};

}  // namespace distmnist
