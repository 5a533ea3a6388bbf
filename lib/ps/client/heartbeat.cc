#include "lib/ps/client/heartbeat.h"

#include <exception>
#include <utility>

#include "lib/base/clock.h"
#include "lib/base/log.h"

namespace distmnist {
namespace {

constexpr int kHeartbeatPollMs = 200;  // how long stop() may take

struct Line {
  Heartbeat::Target target;
  ClientSocket socket;
  Header ping() const {
    Header header = target.header;
    header.type = MessageType::kPing;
    return header;
  }
};

std::vector<ClientSocket*> sockets_of(std::vector<Line>& lines) {
  std::vector<ClientSocket*> out;
  for (Line& line : lines) out.push_back(&line.socket);
  return out;
}

}  // namespace

void Heartbeat::set_targets(std::vector<Target> targets) {
  {
    const std::lock_guard lock(mutex_);
    targets_ = std::move(targets);
    changed_ = true;
  }
  if (!thread_.joinable())
    thread_ = std::thread([this] {
      try {
        run();
      } catch (const std::exception& error) {
        log_warning("the heartbeat has stopped: {}; this worker may be considered lost during a long step",
                    error.what());
      }
    });
}

void Heartbeat::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

void Heartbeat::run() {
  std::vector<Line> lines;
  TimeMs last_ms = 0;
  while (!stopping_) {
    bool changed = false;
    {
      const std::lock_guard lock(mutex_);
      changed = std::exchange(changed_, false);
      if (changed) {
        lines.clear();
        for (const Target& target : targets_) {
          lines.push_back({target, ClientSocket(context_, target.endpoint, target.keys)});
        }
      }
    }
    if (changed || monotonic_ms() - last_ms >= kHeartbeatMs) {
      last_ms = monotonic_ms();
      for (Line& line : lines) {
        if (!line.socket.broken().empty()) {
          line.socket = ClientSocket(context_, line.target.endpoint, line.target.keys);
        }
        line.socket.send(Message{line.ping(), {}});
      }
    }
    ClientSocket::poll(sockets_of(lines), kHeartbeatPollMs);
    for (Line& line : lines) {
      line.socket.broken();  // Noted; the next ping reconnects.
      while (const auto received = line.socket.receive()) {
        const bool probed =
            received->fault == HeaderFault::kNone && received->message.header.type == MessageType::kProbe;
        if (probed) line.socket.send(Message{line.ping(), {}});
      }
    }
  }
}

}  // namespace distmnist
