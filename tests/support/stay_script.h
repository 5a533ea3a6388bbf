// StayScript drives a whole PsCore with --ps_stay in one thread, with messages instead of sockets, and runs of the
// small model in several containers. Use PsScript for a single container.
#pragma once

#include <string>
#include <vector>

#include "lib/ps/server/ps_core.h"
#include "tests/support/ps_script.h"

namespace distmnist::trace {

class StayScript : public PsTrace<PsCore> {
 public:
  explicit StayScript(bool stay = true) : PsTrace(PsSetup{{0, 1, 1, kEpoch, stay}}, actions, 0) {}

  Lines greet(Peer& peer, std::uint32_t num_workers, const Fingerprint& fingerprint = kJob) {
    return say(peer, peer.hello(fingerprint, num_workers, 1, 0));
  }
  // The chief sends its greeting and creates a model of zeros; the number of the run is `run`.
  void start(Peer& chief, std::uint32_t num_workers, std::uint64_t run = kRun) {
    greet(chief, num_workers);
    chief.run = run;
    ++chief.sequence;
    say(chief, chief.record(MessageType::kCreate, encode(small_model())));
    say(chief, chief.load(0, {0, 0}));
    say(chief, chief.load(2, {0}));
    say(chief, chief.plain(MessageType::kCreateEnd));
  }
  Lines push(Peer& peer, const std::vector<float>& gradient) {
    ++peer.sequence;
    Lines out = say(peer, peer.push(0, {gradient[0], gradient[1]}));
    for (const std::string& line : say(peer, peer.push(2, {gradient[2]}))) out.push_back(line);
    return out;
  }
  Lines pull(Peer& peer) { return say(peer, peer.plain(MessageType::kPull)); }
  Lines done(Peer& peer) { return say(peer, peer.plain(MessageType::kDone)); }

  // A reset from a client that has not asked anything before.
  Lines reset(const std::vector<std::string>& containers) {
    ++admin.incarnation;
    return say(admin, admin.record(MessageType::kReset, encode(ResetRecord{containers})));
  }
  Lines ask(VariableAction action, const std::string& container, const std::string& name = {}, double value = 0) {
    ++admin.incarnation;
    return ask_again(action, container, name, value);
  }
  Lines ask_again(VariableAction action, const std::string& container, const std::string& name = {}, double value = 0) {
    return say(admin,
               admin.record(MessageType::kVariable, encode(VariableRecord{action, 1, 0, container, name, value})));
  }

  Peer admin = {.incarnation = 1'000'000, .route = "admin", .sequence = 1};
};

inline Peer chief_of(const std::string& container, const Route& route) {
  return {.worker = 0, .chief = true, .route = route, .container = container};
}
inline Peer worker_of(const std::string& container, std::uint32_t worker, const Route& route) {
  return {.worker = worker, .route = route, .container = container};
}

}  // namespace distmnist::trace
