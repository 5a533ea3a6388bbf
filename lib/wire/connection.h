// Connection: one peer of a NetworkServer: its socket, the data received from it, and the data to send to it. Belongs
// to the server's thread.
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
  // `keys`: the server's, if it has keys. They must outlive the connection.
  Connection(FileDescriptor socket, Sender sender, const ServerKeys* keys, TimeMs now);

  int descriptor() const { return socket_.get(); }
  const Sender& sender() const { return sender_; }
  // Reads once, up to one message's worth. Returns false if the connection is over because the peer has closed it or
  // broken the protocol; fault() says why.
  bool read(TimeMs now);
  std::optional<Received> next();
  std::string_view fault() const;

  void keep();
  // Whether a peer that is not kept has sent so much that the connection must end.
  bool says_too_much() const;

  void enqueue(Message&& message, TimeMs now);
  // Writes what the socket accepts. Returns false if the connection is broken. `sent` counts the messages that have
  // been written completely.
  bool write(TimeMs now, std::size_t& sent);
  bool has_unsent() const { return !out_.empty() || !messages_.empty(); }
  // Whether so much is waiting to be sent that nothing more should be read.
  bool is_choked() const;
  // The connection closes after everything queued has been sent.
  void close_when_sent() { closing_ = true; }
  bool is_closing() const { return closing_; }

  // The server itself did not run for this long, so the delay is not the peer's fault.
  void forgive(TimeMs slept_ms);
  // Why the connection must end now; null while it may continue.
  const char* overdue(TimeMs now) const;

  bool wants_to_read() const { return !paused_ && !closing_ && !zmtp_.is_over(); }
  bool is_paused() const { return paused_; }
  void pause() { paused_ = true; }
  void go_on() { paused_ = false; }

 private:
  // Bytes that are sent together; the payload of a message comes last. `is_message` is false for the handshake and
  // heartbeats.
  struct Outgoing {
    std::vector<std::byte> head;
    Frame payload;
    bool is_message = true;
    std::size_t size() const { return head.size() + payload.size(); }
  };
  void take_replies(TimeMs now);
  // A stall counts from the moment when there is something to send.
  void note_waiting(TimeMs now) {
    if (!has_unsent()) written_ms_ = now;
  }
  void add_encoded(Outgoing&& outgoing);
  // Encodes only what is about to be written: with keys, encoding makes a copy and numbers it.
  void encode_ahead();

  FileDescriptor socket_;
  Sender sender_;
  ZmtpPeer zmtp_;
  TimeMs accepted_ms_, heard_ms_, written_ms_;
  bool kept_ = false, closing_ = false, paused_ = false;
  bool asks_for_key_, left_without_key_ = false;
  std::deque<Message> messages_;  // not encoded yet
  std::deque<Outgoing> out_;      // sent before messages_
  std::size_t written_ = 0;       // bytes of the first of out_
  std::size_t unsent_bytes_ = 0, encoded_bytes_ = 0, unsent_reply_bytes_ = 0;
  std::size_t unproven_messages_ = 0, unproven_bytes_ = 0;  // received before keep()
};

}  // namespace distmnist
