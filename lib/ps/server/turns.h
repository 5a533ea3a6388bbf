// Turns: on ps 0, whose turn it is to compute a batch: pushes and joins are answered when the strategy lets the worker
// go on. Keeps what became of each worker's last push, so that a question that is asked again gets the same answer. A
// pure state machine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/time_ms.h"
#include "lib/ps/server/coordinator.h"
#include "lib/wire/message.h"

namespace distmnist {

inline constexpr TimeMs kFirstNoticeMs = 1'000;  // of a wait for other workers, to the worker that waits
inline constexpr TimeMs kNoticeEveryMs = 8'000;  // and again

class Turns {
 public:
  // Where nobody's turn has come for max_wait_ms although some wait, they are told to give up.
  Turns(const Strategy& strategy, std::uint32_t num_workers, TimeMs now, TimeMs max_wait_ms);

  // A process takes part, or asks again whether it may compute.
  void join(const Route& route, const Header& request, TimeMs now);
  // What is known of the push that `commit` is about.
  enum class Known { kNew, kDecided, kOlder };
  Known known(const Header& commit) const;
  // Decides a new push; one with kNotFinite in its commit is dropped. It is answered like a join, in time.
  Verdict decide(const Route& route, const Header& commit, std::int64_t global_step, TimeMs now);
  // The commit of the push decided last came again: answer that.
  void ask_again(const Route& route, const Header& commit, TimeMs now);
  // The worker's process takes part no more.
  void depart(std::uint32_t worker, TimeMs now);
  // A process that had counted as lost is heard again.
  void arrive(std::uint32_t worker);

  // The update to make now, if any.
  std::optional<Update> next_update(TimeMs now);
  // The model was updated without a decision: by a push that needs none.
  void note_update(TimeMs now) { last_update_ms_ = now; }

  // The next worker whose turn has come. consumed_samples and updates of its token are left to the caller.
  struct Grant {
    Route route;
    Header request;
    TokenRecord token;
  };
  std::optional<Grant> next_grant(std::int64_t global_step, TimeMs now);

  // Time has passed: workers may be missed from now on. Returns what is to be said in the log. An update or a grant may
  // be due afterwards.
  std::vector<std::string> watch(TimeMs now);
  // What is to be said to those who still wait.
  struct Word {
    Route route;
    Header request;
    std::string text;
  };
  struct Words {
    std::vector<Word> notices;
    std::vector<Word> refusals;  // these workers wait no longer (exit 138)
  };
  Words tell_waiting(std::int64_t global_step, TimeMs now);

 private:
  struct Waiting {
    Route route;
    Header request;
    TimeMs since_ms = 0;
    TimeMs notice_ms = 0;  // when it is told next
  };
  struct Worker {
    std::uint64_t joined = 0;  // incarnation of the process that takes part; 0: none
    PushMark decided;
    Verdict verdict;            // of that push
    std::uint64_t turn_of = 0;  // incarnation of the process whose turn has come since; 0: none
  };
  void wait(const Route& route, const Header& request, TimeMs now);

  TimeMs max_wait_ms_;
  std::unique_ptr<Coordinator> coordinator_;
  std::map<std::uint32_t, Worker> workers_;
  std::vector<Waiting> waiting_;  // in order of arrival
  TimeMs last_update_ms_;
  std::optional<std::string> failure_;  // the run has ended with it
};

}  // namespace distmnist
