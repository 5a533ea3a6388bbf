// SimulatedNetwork: connections between workers and ps tasks on a clock that only moves when asked. Like ZeroMQ over
// TCP: messages of a connection arrive in order, late, or not at all; a connection may break, which loses what is under
// way, and may be made anew without either end noticing; what was sent on a connection that was given up may still
// arrive. Everything is decided by one seed.
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
  double broken = 0.01;    // of all messages: the connection breaks, and is made anew unnoticed
  double stalled = 0.005;  // of all messages: nothing moves on the connection for a while
  TimeMs delay_ms = 50;    // at most, for each message
  TimeMs stall_ms = 20'000;
};

// Events in order of time; those of one time in order of their making.
class SimulatedClock {
 public:
  TimeMs now() const { return now_; }
  void at(TimeMs time, std::function<void()> event) { events_.emplace(std::max(time, now_), std::move(event)); }
  // Runs the next event; false where there is none.
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

  // One worker's line to one ps. The line is the worker's; connections come and go beneath it.
  class Line {
   public:
    Line(SimulatedNetwork& network, ToPs to_ps, ToWorker to_worker)
        : network_(network), to_ps_(std::move(to_ps)), to_worker_(std::move(to_worker)) {}

    void connect() {
      connection_ = std::make_shared<Connection>();
      connection_->route = "connection " + std::to_string(++network_.made_);
      network_.lines_[connection_->route] = this;
    }
    // The worker gives the connection up. What it has sent may arrive yet; answers go nowhere.
    void give_up() {
      if (!connection_) return;
      network_.lines_.erase(connection_->route);
      given_up_.push_back(std::exchange(connection_, nullptr));
    }
    // The worker's process dies: nothing of it arrives any more.
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

  // What a ps sends.
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
      return;  // The message is lost with it.
    }
    if (happens(faults_.lost)) return;
    const auto connection = line.connection_;
    TimeMs& last = up ? connection->last_up_ms : connection->last_down_ms;
    TimeMs arrival =
        clock_.now() + static_cast<TimeMs>(random_.below(static_cast<std::uint64_t>(faults_.delay_ms) + 1));
    if (happens(faults_.stalled))
      arrival += static_cast<TimeMs>(random_.below(static_cast<std::uint64_t>(faults_.stall_ms)));
    last = arrival = std::max(arrival, last);  // in order
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
