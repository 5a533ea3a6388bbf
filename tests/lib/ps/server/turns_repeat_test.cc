// Turns alone: cases that depend on an order of questions and moments that rarely occurs with whole ps tasks. The
// traces of whole ps tasks and replication_property_test.cc test the rules.
#include "lib/ps/server/turns.h"

#include "lib/ps/server/staged_pushes.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

constexpr TimeMs kMaxWaitMs = 120'000;
using Workers = std::vector<std::uint32_t>;

Strategy strategy() {
  Strategy strategy;
  strategy.train_steps = 1000;
  return strategy;
}

// ps 0 reduced to its decisions. Each action returns the workers that it allows to continue.
class Script {
 public:
  Script(const Strategy& strategy, std::uint32_t num_workers)
      : turns_(strategy, num_workers, 0, kMaxWaitMs), workers_(num_workers) {}

  Workers join(std::uint32_t w) { return ask(new_question(w, MessageType::kJoin)); }
  Workers push(std::uint32_t w) { return ask(new_question(w, MessageType::kCommit)); }
  Workers ask(const Header& question) {
    if (question.type == MessageType::kJoin) {
      turns_.join("", question, now);
    } else {
      turns_.decide("", question, step_, now);
    }
    return go_on();
  }
  const Header& question(std::uint32_t w) const { return workers_[w].question; }
  // True if the worker's last question was answered, and not an older one.
  bool answered(std::uint32_t w) const { return workers_[w].answered == workers_[w].question.sequence; }
  std::size_t refusals_at(TimeMs time) {
    now = time;
    turns_.watch(now);
    go_on();
    return turns_.tell_waiting(step_, now).refusals.size();
  }

  TimeMs now = 0;

 private:
  struct Worker {
    Header question;
    std::uint64_t answered = 0;  // the sequence of the question that was answered last
    std::int64_t step = 0;       // the step of its parameters
  };

  Header new_question(std::uint32_t w, MessageType type) {
    Header& question = workers_[w].question;
    question.type = type;
    question.worker = w;
    question.incarnation = 10;
    question.step = workers_[w].step;
    ++question.sequence;
    return question;
  }
  Workers go_on() {
    while (turns_.next_update(now)) ++step_;
    Workers out;
    while (const auto grant = turns_.next_grant(step_, now)) {
      out.push_back(grant->request.worker);
      workers_[out.back()].answered = grant->request.sequence;
      if (answered(out.back())) workers_[out.back()].step = step_;
    }
    return out;
  }

  Turns turns_;
  std::vector<Worker> workers_;
  std::int64_t step_ = 0;
};

}  // namespace

TEST_CASE("a warm-up gives worker 0 no lead that it would have to wait for later") {
  Strategy warm_up = strategy();
  warm_up.warmup_steps = 4;
  warm_up.max_staleness = 1;
  Script script(warm_up, 2);
  script.join(0);
  CHECK(script.join(1).empty());
  for (int step = 1; step < 4; ++step) CHECK(script.push(0) == Workers{0});
  CHECK(script.push(0) == Workers{1, 0});
  CHECK(script.push(0) == Workers{0});
  CHECK(script.push(0).empty());
  CHECK(script.push(1) == Workers{0, 1});
}

TEST_CASE("after a duplicate question a worker whose push was then dropped has to wait") {
  Strategy lockstep = strategy();
  lockstep.staleness = StalenessPolicy::kDrop;
  lockstep.max_staleness = 0;
  Script script(lockstep, 3);
  for (const std::uint32_t w : {0, 1, 2}) script.join(w);
  Header push = script.question(1);
  CHECK(script.push(0).empty());
  CHECK(script.ask(script.question(1)) == Workers{1});  // the worker is computing and ignores this answer
  push.type = MessageType::kCommit;
  ++push.sequence;
  CHECK(script.ask(push).empty());  // dropped, but one batch more than worker 2 has done
  CHECK(script.push(2) == Workers{0, 1, 2});
}

TEST_CASE("a late duplicate of an answered question does not replace the waiting question") {
  Strategy sync = strategy();
  sync.sync = true;
  sync.replicas_to_aggregate = 2;
  Script script(sync, 2);
  script.join(0);
  script.join(1);
  const Header join = script.question(0);
  CHECK(script.push(0).empty());
  CHECK(script.ask(join).empty());
  CHECK(script.push(1) == Workers{0, 1});
  CHECK(script.answered(0));
}

TEST_CASE("no worker is told to give up while another worker computes the batch of a missing one") {
  Strategy sync = strategy();
  sync.sync = true;
  sync.replicas_to_aggregate = 4;
  Script script(sync, 3);
  script.join(0);
  script.join(1);
  CHECK(script.push(0) == Workers{0});
  CHECK(script.push(0).empty());
  CHECK(script.push(1).empty());  // the fourth batch is kept for worker 2, which never arrives
  CHECK(script.refusals_at(kMaxWaitMs) == 0);
  CHECK(script.push(0) == Workers{1, 0});
}

}  // namespace distmnist
