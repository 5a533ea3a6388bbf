// SimulatedNetwork replaces sockets and time in the simulation: connections between workers and ps tasks, with a clock
// that only moves on request. As with ZeroMQ over TCP, messages on a connection arrive in order, late, or not at all. A
// connection can break, which loses messages in transit, and can be replaced without either end noticing. Messages on
// an abandoned connection can still arrive. One seed determines everything.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/wire/transport.h"
#include "tests/support/trace.h"

namespace distmnist::trace {

struct Faults {
  double lost = 0.01;      // of all messages: dropped by a full queue or a checksum
  double broken = 0.01;    // of all messages: the connection breaks and is replaced unnoticed
  double stalled = 0.005;  // of all messages: the connection transfers nothing for a while
  TimeMs delay_ms = 50;    // at most, for each message
  TimeMs stall_ms = 20'000;
};

// Events in order of time; those at the same time in order of creation.
class SimulatedClock {
 public:
  TimeMs now() const { return now_; }
  void at(TimeMs time, std::function<void()> event) { events_.emplace(std::max(time, now_), std::move(event)); }
  // Runs the next event; returns false if there is none.
  bool step() {
    if (events_.empty()) return false;
    auto next = events_.extract(events_.begin());
    now_ = next.key();
    next.mapped()();
    return true;
  }

 private:
  TimeMs now_ = 0;
  std::multimap<TimeMs, std::function<void()>> events_;
};

class SimulatedNetwork {
 public:
  using ToPs = std::function<void(const Route&, Received&&)>;
  using ToWorker = std::function<void(Received&&)>;

  SimulatedNetwork(SimulatedClock& clock, std::uint64_t seed, Faults faults)
      : clock_(clock), random_(seed, 1), faults_(faults) {}

  // One worker's line to one ps. It belongs to the worker and uses one connection after another.
  class Line {
   public:
    Line(SimulatedNetwork& network, ToPs to_ps, ToWorker to_worker)
        : network_(network), to_ps_(std::move(to_ps)), to_worker_(std::move(to_worker)) {}

    void connect() {
      connection_ = std::make_shared<Connection>();
      connection_->route = "connection " + std::to_string(++network_.made_);
      network_.lines_[connection_->route] = this;
    }
    // The worker abandons the connection. Its messages can still arrive; answers are lost.
    void give_up() {
      if (!connection_) return;
      network_.lines_.erase(connection_->route);
      given_up_.push_back(std::exchange(connection_, nullptr));
    }
    // The worker's process dies: none of its messages arrives any more.
    void die() {
      give_up();
      for (const auto& connection : given_up_) connection->dead = true;
    }
    void send(Message&& message) { network_.carry(*this, true, std::move(message)); }

   private:
    friend class SimulatedNetwork;
    struct Connection {
      Route route;
      TimeMs last_up_ms = 0, last_down_ms = 0;
      bool dead = false;
    };
    SimulatedNetwork& network_;
    ToPs to_ps_;
    ToWorker to_worker_;
    std::shared_ptr<Connection> connection_;
    std::vector<std::shared_ptr<Connection>> given_up_;
  };

  // A message from a ps.
  void answer(const Route& to, Message&& message) {
    const auto at = lines_.find(to);
    if (at != lines_.end()) carry(*at->second, false, std::move(message));
  }

 private:
  bool happens(double probability) { return random_.uniform() < probability; }

  void carry(Line& line, bool up, Message&& message) {
    if (!line.connection_) return;
    if (happens(faults_.broken)) {
      line.connection_->dead = true;
      line.give_up();
      line.connect();
      return;  // the message is lost with the connection
    }
    if (happens(faults_.lost)) return;
    const auto connection = line.connection_;
    TimeMs& last = up ? connection->last_up_ms : connection->last_down_ms;
    TimeMs arrival =
        clock_.now() + static_cast<TimeMs>(random_.below(static_cast<std::uint64_t>(faults_.delay_ms) + 1));
    if (happens(faults_.stalled))
      arrival += static_cast<TimeMs>(random_.below(static_cast<std::uint64_t>(faults_.stall_ms)));
    last = arrival = std::max(arrival, last);  // keeps the order
    const auto content = std::make_shared<Message>(std::move(message));
    clock_.at(arrival, [&line, connection, up, content] {
      if (connection->dead) return;
      if (up) return line.to_ps_(connection->route, received(std::move(*content)));
      if (line.connection_ == connection) line.to_worker_(received(std::move(*content)));
    });
  }

  SimulatedClock& clock_;
  Random random_;
  Faults faults_;
  std::map<Route, Line*> lines_;
  std::uint64_t made_ = 0;
};

}  // namespace distmnist::trace
