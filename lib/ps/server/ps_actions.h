// PsActions: the effects that the rules of a ps may have. The shell implements them with a socket and the log, tests
// with lists.
#pragma once

#include <string>

#include "lib/base/log.h"
#include "lib/wire/message.h"

namespace distmnist {

class PsActions {
 public:
  virtual ~PsActions() = default;
  // May drop the message: a peer that has gone asks again or is lost.
  virtual void send(const Route& to, Message&& message) = 0;
  // The peer has sent a message that only our peers send: its connection may stay. A connection without one is soon
  // ended.
  virtual void keep(const Route& peer) = 0;
  // Ends the connection after the messages sent before have gone out.
  virtual void cut(const Route& peer) = 0;
  virtual void log(LogLevel level, const std::string& line) = 0;
  // A warning that a peer can cause as often as it likes: if there are many about one address, most may be omitted.
  virtual void log_about_peer(const std::string& address, const std::string& line) {
    static_cast<void>(address);
    log(LogLevel::kWarning, line);
  }
  // The same for events of a run's processes, which may be strangers if there are no keys: of many lines with one key,
  // most may be omitted.
  virtual void log_event(LogLevel level, const std::string& key, const std::string& line) {
    static_cast<void>(key);
    log(level, line);
  }
};

}  // namespace distmnist
