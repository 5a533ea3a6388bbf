// PsScript drives one Container in one thread, with messages instead of sockets. The model is small: three parameters
// in two pieces, [0,2) and [2,3), and SGD with rate 1, so that every value is a whole number. Use container_job.h to
// start with a ready model, JobScript for several ps tasks, and StayScript for a whole PsCore.
#pragma once

#include <string>
#include <vector>

#include "lib/ps/server/container.h"
#include "tests/support/trace.h"

namespace distmnist::trace {

inline constexpr std::uint64_t kEpoch = 500;
inline constexpr std::uint64_t kRun = 7;

inline CreateRecord small_model() {
  CreateRecord record;
  record.pieces = {{"pred/weights", {0, 2}}, {"pred/biases", {2, 1}}};
  record.optimizer.kind = OptimizerKind::kSgd;
  record.optimizer.learning_rate = 1;
  return record;
}

class PsScript : public PsTrace<Container> {
 public:
  explicit PsScript(PsIdentity identity = {0, 1, 2, kEpoch}, WaitLimits limits = {})
      : PsTrace(PsSetup{identity, limits}, actions), identity_(identity) {}

  Lines greet(Peer& peer, const Fingerprint& fingerprint = kJob) {
    return say(peer, peer.hello(fingerprint, identity_.num_workers, identity_.num_ps, identity_.index));
  }

  // The chief creates a model that starts with `values`. Returns the messages sent at the end of the creation.
  Lines create(Peer& chief, const std::vector<float>& values = {0, 0, 0}, const CreateRecord& record = small_model(),
               std::uint64_t run = kRun) {
    begin_create(chief, record, run);
    say(chief, chief.load(0, {values[0], values[1]}));
    say(chief, chief.load(2, {values[2]}));
    return say(chief, chief.plain(MessageType::kCreateEnd));
  }

  // Sends only its first message, without the values.
  void begin_create(Peer& chief, const CreateRecord& record = small_model(), std::uint64_t run = kRun) {
    chief.run = run;
    ++chief.sequence;
    say(chief, chief.record(MessageType::kCreate, encode(record)));
  }

  // A complete push with the peer's next sequence.
  Lines push(Peer& peer, const std::vector<float>& gradient) {
    ++peer.sequence;
    return push_again(peer, gradient);
  }
  // Repeats the same push.
  Lines push_again(Peer& peer, const std::vector<float>& gradient) {
    Lines out = say(peer, peer.push(0, {gradient[0], gradient[1]}));
    for (const std::string& line : say(peer, peer.push(2, {gradient[2]}))) out.push_back(line);
    return out;
  }

  Lines pull(Peer& peer) { return say(peer, peer.plain(MessageType::kPull)); }

  // To ps 0: the peer wants to compute, its push is complete on all ps tasks, and all other ps tasks have made
  // `others_commit` updates.
  Lines join(Peer& peer) {
    ++peer.sequence;
    return say(peer, peer.plain(MessageType::kJoin));
  }
  Lines commit(Peer& peer, std::int64_t others_commit = 0) {
    Message message = peer.plain(MessageType::kCommit);
    message.header.commit = others_commit;
    return say(peer, std::move(message));
  }
  // To the other ps tasks: make these updates and answer with the parameters.
  Lines advance(Peer& peer, const std::vector<Update>& updates) {
    ++peer.sequence;
    return say(peer, peer.record(MessageType::kAdvance, encode(UpdatesRecord{updates})));
  }

 private:
  PsIdentity identity_;
};

// The answer to a push or pull, sent to `route`.
inline Lines parameters(const std::string& route, const std::string& first, const std::string& second, int step) {
  return {fmt::format("{}: parameters [0,2) {} step {}", route, first, step),
          fmt::format("{}: parameters [2,3) {} step {}", route, second, step)};
}

}  // namespace distmnist::trace
