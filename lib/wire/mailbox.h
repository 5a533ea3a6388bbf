// Mailbox: passes messages between the thread that owns a server and the server's own thread. Received messages go one
// way, orders the other. Each side waits on a descriptor. Thread-safe.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "lib/base/file.h"
#include "lib/wire/frame.h"
#include "lib/wire/message.h"
#include "lib/wire/sender.h"

namespace distmnist {

// A kernel counter that a poll() can wait for.
class Signal {
 public:
  Signal();
  void set();
  void clear();
  int descriptor() const { return descriptor_.get(); }

 private:
  FileDescriptor descriptor_;
};

class Mailbox {
 public:
  enum class Action { kSend, kKeep, kCut, kReadOn };
  struct Order {
    Action action = Action::kSend;
    Route route;
    Message message = {};  // for kSend
  };
  struct Limits {
    std::size_t waiting_messages, waiting_bytes, unsent_messages;  // for each peer
    std::size_t newcomers_bytes;  // waiting, for all peers that are not kept, including those that have gone
  };
  explicit Mailbox(Limits limits) : limits_(limits) {}

  // ---- The server's thread ----
  void add_peer(const Route& route);
  void drop_peer(const Route& route);
  enum class Put {
    kReadOn,
    kPause,   // so much of the peer's data is waiting that it must not be read from until a kReadOn order
    kNoRoom,  // nothing was put in: the peer is a newcomer, and newcomers have too much waiting
  };
  Put put(const Sender& from, Received&& received);
  // The message of a kSend order has been written.
  void note_sent(const Route& route);
  std::vector<Order> take_orders();
  const Signal& orders() const { return orders_ready_; }

  // ---- The owner ----
  bool poll(int timeout_ms);
  std::optional<Received> take(Sender& from);
  // False if there is no such peer; for kSend also if too much is unsent. kKeep is passed on only once.
  bool order(Order&& order);
  // Makes the server's thread check its state.
  void wake_server() { orders_ready_.set(); }

 private:
  struct Peer {
    std::size_t waiting_messages = 0, waiting_bytes = 0, unsent_messages = 0;
    bool paused = false, kept = false;
  };
  struct Letter {
    Sender from;
    Received received;
    std::size_t newcomer_bytes = 0;  // its share of newcomers_bytes_
  };
  void push_order(Order&& order);

  const Limits limits_;
  std::mutex mutex_;
  std::unordered_map<Route, Peer> peers_;
  std::deque<Letter> letters_;
  std::size_t newcomers_bytes_ = 0;
  std::vector<Order> orders_;
  Signal letters_ready_, orders_ready_;
};

}  // namespace distmnist
