// Turns: on ps 0, which worker may compute a batch next. Pushes and joins are answered when the strategy lets the
// worker continue. Keeps the result of each worker's last push, so that a repeated question gets the same answer. A
// pure state machine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/time_ms.h"
#include "lib/ps/records/report_times.h"
#include "lib/ps/server/coordinator.h"
#include "lib/wire/message.h"

namespace distmnist {

class Turns {
 public:
  // If some workers wait and none has had its turn for max_wait_ms, they are told to give up.
  // notice_every_ms: between two notices to a worker that waits.
  Turns(const Strategy& strategy, std::uint32_t num_workers, TimeMs now, TimeMs max_wait_ms,
        TimeMs notice_every_ms = kNoticeEveryMs);

  // A process joins, or asks again whether it may compute.
  void join(const Route& route, const Header& request, TimeMs now);
  // What is known about the push that `commit` refers to.
  enum class Known { kNew, kDecided, kOlder };
  Known known(const Header& commit) const;
  // Decides a new push. A push whose commit has kNotFinite is dropped. It is answered when its worker's turn comes,
  // like a join.
  Verdict decide(const Route& route, const Header& commit, std::int64_t global_step, TimeMs now);
  // The commit of the last decided push arrived again: answers this one.
  void ask_again(const Route& route, const Header& commit, TimeMs now);
  // The worker's process no longer takes part.
  void depart(std::uint32_t worker, TimeMs now);
  // A process that had counted as lost was heard again.
  void arrive(std::uint32_t worker);
  // The worker is done: no other worker waits for it.
  void retire(std::uint32_t worker) { coordinator_->retire(worker); }

  // The update to make now, if any.
  std::optional<Update> next_update(TimeMs now);
  // The model was updated by a push that needs no decision.
  void note_update(TimeMs now) { last_update_ms_ = now; }

  // The next worker whose turn has come. The caller sets consumed_samples and updates in its token.
  struct Grant {
    Route route;
    Header request;
    TokenRecord token;
  };
  std::optional<Grant> next_grant(std::int64_t global_step, TimeMs now);

  // Handles the passage of time: workers may count as missing from now on. Returns lines for the log. An update or a
  // grant may be due afterwards.
  std::vector<std::string> watch(TimeMs now);
  // A text for a worker that still waits.
  struct Word {
    Route route;
    Header request;
    std::string text;
  };
  struct Words {
    std::vector<Word> notices;
    std::vector<Word> refusals;  // these workers stop waiting (exit 138)
  };
  Words tell_waiting(std::int64_t global_step, TimeMs now);

 private:
  struct Waiting {
    Route route;
    Header request;
    TimeMs since_ms = 0;
    TimeMs notice_ms = 0;  // when it gets its next notice
  };
  struct Worker {
    std::uint64_t joined = 0;  // incarnation of the process that takes part; 0: none
    PushMark decided;
    Verdict verdict;            // of that push
    std::uint64_t turn_of = 0;  // incarnation of the process whose turn has come since; 0: none
  };
  void wait(const Route& route, const Header& request, TimeMs now);

  TimeMs max_wait_ms_;
  TimeMs notice_every_ms_;
  std::unique_ptr<Coordinator> coordinator_;
  std::map<std::uint32_t, Worker> workers_;
  std::vector<Waiting> waiting_;  // in order of arrival
  TimeMs last_update_ms_;
  std::optional<std::string> failure_;  // the reason why the run has ended
};

}  // namespace distmnist
