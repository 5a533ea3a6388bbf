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
  Message ping(const std::optional<Stuck>& stuck) const {
    Header header = target.header;
    header.type = MessageType::kPing;
    if (stuck) {
      header.flags |= kIsStuck;
      header.step = stuck->step;
      header.samples = static_cast<std::uint32_t>(stuck->for_ms / 1000);
    }
    return {header, {}};
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
  bool was_stuck = false;
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
    const std::optional<Stuck> stuck = config_.stuck ? config_.stuck() : std::nullopt;
    const bool is_news = std::exchange(was_stuck, stuck.has_value()) != stuck.has_value();
    if (changed || is_news || monotonic_ms() - last_ms >= config_.every_ms) {
      last_ms = monotonic_ms();
      for (Line& line : lines) {
        if (!line.socket.broken().empty()) {
          line.socket = ClientSocket(context_, line.target.endpoint, line.target.keys);
        }
        line.socket.send(line.ping(stuck));
      }
    }
    ClientSocket::poll(sockets_of(lines), kHeartbeatPollMs);
    for (Line& line : lines) {
      line.socket.broken();  // Noted; the next ping reconnects.
      while (const auto received = line.socket.receive()) {
        const bool probed =
            received->fault == HeaderFault::kNone && received->message.header.type == MessageType::kProbe;
        if (probed) line.socket.send(line.ping(stuck));
      }
    }
  }
}

}  // namespace distmnist
