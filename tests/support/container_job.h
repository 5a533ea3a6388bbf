// Drives one Container in one thread, with messages instead of sockets, from a state in which training can start: a
// model and two welcomed workers. Use PsScript directly for tests before that state, and JobScript for several ps
// tasks.
#pragma once

#include <vector>

#include "tests/support/ps_script.h"

namespace distmnist::trace {

inline Peer chief_peer() {
  return {.worker = 0, .incarnation = 10, .chief = true, .route = "a"};
}
inline Peer worker_peer() {
  return {.worker = 1, .incarnation = 10, .route = "b"};
}
inline Peer successor_of(const Peer& peer) {
  return {.worker = peer.worker, .incarnation = peer.incarnation + 1, .chief = peer.chief, .route = peer.route + "'"};
}

// A running job: it has a model, and both workers have been welcomed.
struct Job : PsScript {
  explicit Job(const std::vector<float>& values = {0, 0, 0}) {
    greet(chief);
    greet(worker);
    create(chief, values);
  }
  Peer chief = chief_peer();
  Peer worker = worker_peer();
};

}  // namespace distmnist::trace
