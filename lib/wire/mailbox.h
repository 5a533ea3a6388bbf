// Mailbox: what passes between the thread that owns a server and the server's own thread. Received messages go one way,
// orders the other; each side waits on a descriptor. Thread-safe.
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

// A counter of the kernel's that a poll() can wait for.
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
    Message message = {};  // of kSend
  };
  struct Limits {
    std::size_t waiting_messages, waiting_bytes, unsent_messages;  // of a peer
    std::size_t newcomers_bytes;  // waiting, of all who are not kept, those who have gone among them
  };
  explicit Mailbox(Limits limits) : limits_(limits) {}

  // ---- The server's thread ----
  void add_peer(const Route& route);
  void drop_peer(const Route& route);
  enum class Put {
    kReadOn,
    kPause,   // it has so much waiting now that it must not be read from until an order kReadOn comes
    kNoRoom,  // nothing was put in: it is a newcomer, and newcomers have too much waiting
  };
  Put put(const Sender& from, Received&& received);
  // A message of an order kSend has been written.
  void note_sent(const Route& route);
  std::vector<Order> take_orders();
  const Signal& orders() const { return orders_ready_; }

  // ---- The owner ----
  bool poll(int timeout_ms);
  std::optional<Received> take(Sender& from);
  // False where there is no such peer; for kSend also where too much is unsent. kKeep is passed on once.
  bool order(Order&& order);
  // Lets the server's thread look around.
  void wake_server() { orders_ready_.set(); }

 private:
  struct Peer {
    std::size_t waiting_messages = 0, waiting_bytes = 0, unsent_messages = 0;
    bool paused = false, kept = false;
  };
  struct Letter {
    Sender from;
    Received received;
    std::size_t newcomer_bytes = 0;  // that it counts for among those of newcomers
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
