// What the rules of a ps may do to the world. The shell implements it with a socket and the log, tests with lists.
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
  // The peer has said something that only a peer of ours says: its connection may stay. Who says nothing of the kind is
  // cut off soon.
  virtual void keep(const Route& peer) = 0;
  // Ends the connection, once what was sent before has gone out.
  virtual void cut(const Route& peer) = 0;
  virtual void log(LogLevel level, const std::string& line) = 0;
  // A warning that a peer can bring about as often as it likes: where there are many about one address, most of them
  // may be left out.
  virtual void log_about_peer(const std::string& address, const std::string& line) {
    static_cast<void>(address);
    log(LogLevel::kWarning, line);
  }
  // The same of what happens to the processes of a run, which strangers may be as long as no keys are asked for: of
  // many lines with one key most may be left out.
  virtual void log_event(LogLevel level, const std::string& key, const std::string& line) {
    static_cast<void>(key);
    log(level, line);
  }
};

}  // namespace distmnist
