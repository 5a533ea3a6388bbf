// RunState: the state that the parts of a Container share: the members, this ps's shard of the model, and how to
// answer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/unguessable.h"
#include "lib/base/wait_limits.h"
#include "lib/ps/records/report_times.h"
#include "lib/ps/server/membership.h"
#include "lib/ps/server/ps_actions.h"
#include "lib/ps/server/published_parameters.h"
#include "lib/ps/server/push_collector.h"
#include "lib/ps/store/variable_store.h"

namespace distmnist {

struct PsIdentity {
  std::uint32_t index = 0;
  std::uint32_t num_ps = 1;
  std::uint32_t num_workers = 1;
  std::uint64_t epoch = 0;  // drawn when the process starts
  // --ps_stay: serves any number of containers until a signal arrives. The first hello for a container sets its number
  // of workers.
  bool stay = false;
  NumberSource draw_lease = unguessable_number;
};

// What a ps is started with.
struct PsSetup {
  PsIdentity identity;
  WaitLimits limits = {};
  // Threads that share the work of an update; null: only the caller's thread works. Outlives the ps.
  ThreadPool* pool = nullptr;
};

// What a token has told a process: the updates up to `commit`. `question` is the last one answered; `commit` is that of
// its first answer, because the process may have continued with that one.
struct Told {
  std::uint64_t incarnation = 0;
  std::uint64_t question = 0;  // its sequence number
  std::int64_t commit = 0;
};

// A worker's history in the model, over all its processes.
struct History {
  PushCollector collector;
  PushMark mark;  // of the last push that was applied, or staged if ps 0 decides
  std::int64_t consumed_samples = 0;
  std::int64_t pending_samples = 0;  // of pushes that are accepted but not applied yet
  int skipped_in_a_row = 0;          // on ps 0: pushes that were dropped because they were not finite
  Told told;
};

// A ps's part of the model of a run, and what workers have pushed to it.
struct Shard {
  std::uint64_t run = 0;
  std::uint64_t run_id = 0;        // as in RunProgress
  std::vector<NamedRange> pieces;  // in order of offset
  Strategy strategy;
  VariableStore store;
  std::map<std::uint32_t, History> histories = {};  // by worker
  PublishedParameters published = {};

  // Describes a push with a bad number: "worker:1 pushed a gradient with nan in conv1/weights at global_step 7".
  std::string describe(const WholePush& push) const;
};

class RunState {
 public:
  // The actions must outlive it.
  RunState(const PsSetup& setup, PsActions& actions)
      : ps(setup.identity),
        limits(setup.limits),
        actions(actions),
        pool(setup.pool),
        members(setup.identity.num_workers, setup.limits.silence_ms, setup.identity.draw_lease) {}

  // ---- The shard ----
  // Whether ps 0 decides each push.
  bool ordered() const { return shard->strategy.ordered(ps.num_ps); }
  // Applies a push that needs no decision, and answers it with the new parameters. A push that was applied before is
  // only answered.
  void apply(WholePush&& push);
  // How far the run has come here, apart from the model.
  RunProgress progress() const;
  // Nothing is applied from now on.
  void fail_run(const std::string& reason);
  // An update must not be left half made: if this throws, the run fails.
  template <class Action>
  void all_or_nothing(const Action& make_update) {
    try {
      make_update();
    } catch (const std::exception& error) {
      fail_run(std::string("an update could not be finished: ") + error.what() + "; resume from the newest checkpoint");
    }
  }

  // ---- Answers ----
  Header reply_header(const Header& request, MessageType type) const;
  void reply(const Route& route, const Header& request, MessageType type, Frame record = {});
  // The current parameters, even if the next push is applied before they are sent.
  void send_parameters(const Route& route, const Header& request, WireDtype dtype);
  // The same for a snapshot's slot, always in float32.
  void send_slot(const Route& route, const Header& request, std::size_t slot);
  void refuse(const Sender& to, const Header& request, ExitCode code, const std::string& reason);
  // For a message that no worker of ours sends: ends its connection.
  void cut_off(const Sender& from, const Header& header, const std::string& what);

  // Between two notices to a worker that waits for others: it must not conclude that it gets no answer.
  TimeMs notice_every_ms() const { return std::min(kNoticeEveryMs, limits.answer_ms * 2 / 3); }

  // ---- The log ----
  enum class Event { kComes, kBack, kLost, kTakenOver, kLeaves, kDone, kLeads };
  void log_event(Event event, std::uint32_t worker, const std::string& what);

  const PsIdentity ps;
  const WaitLimits limits;
  PsActions& actions;
  ThreadPool* const pool;
  Membership members;
  bool lacks_chief = false;            // there has been no chief for a while: another worker may become the chief
  std::optional<Shard> shard;          // present once there is a model
  std::optional<std::string> failure;  // why the run has failed

 private:
  Header values_header(const Header& request, MessageType type, std::size_t chunk, WireDtype dtype) const;
};

}  // namespace distmnist
