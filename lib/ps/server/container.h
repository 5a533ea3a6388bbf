// Container: the rules of one run on one ps: which workers take part, when the model is ready, when the run is over.
// Messages about the model go to the part that handles them: Creation, OrderedRun, SnapshotTaking. A pure state
// machine: a message or the time goes in, PsActions come out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/ps/server/creation.h"
#include "lib/ps/server/ordered_run.h"
#include "lib/ps/server/run_state.h"
#include "lib/ps/server/snapshot_taking.h"

namespace distmnist {

inline constexpr std::uint32_t kMaxWorkers = kMaxReplicas;  // in a container of a ps with --ps_stay
// Bytes of names and values in a worker's description of its job. A ps keeps one for each of its workers.
inline constexpr std::size_t kMaxFingerprintBytes = 16 * 1024;
// How long, after there has been no chief for a while, workers that are done wait for one of them to become the chief.
inline constexpr TimeMs kSuccessionMs = 10'000;
inline constexpr TimeMs kLateWorkersMs = 10'000;  // after a worker was done, for those that are known to have been done

class Container {
 public:
  Container(const PsSetup& setup, PsActions& actions) : run_(setup, actions) {}

  // Takes a message for this container whose header has been checked.
  void on_message(const Sender& from, Message&& message, TimeMs now);
  void on_tick(TimeMs now);
  // Asks every process that takes part whether it is alive. Any message from it is an answer.
  void probe_everyone();
  // Ends the session of the process that sent this message, because the message could not be handled.
  void end_session(const Header& header, TimeMs now);
  // Ends the connections of all processes that take part or want to. What was sent to them still goes out.
  void hang_up();

  bool has_model() const { return run_.shard.has_value(); }
  // Whether all workers are done. One that is known to have been done before this ps started may come again: it gets
  // kLateWorkersMs for that.
  bool ended() const {
    return has_model() && members().all_done() && (members().all_reported() || late_ones_had_time_);
  }
  // Whether the training is complete and saved, even if not every worker has reported that it is done.
  bool complete() const;
  // Why the run has failed (ExitCode::kDiverged), if it has: its model is ruined or will be. From then on nothing is
  // applied. The owner then tells all workers and drops this container.
  const std::optional<std::string>& failure() const { return run_.failure; }
  // The pieces of the model on this ps, in order of offset; empty while there is no model.
  std::vector<NamedRange> pieces() const { return has_model() ? run_.shard->pieces : std::vector<NamedRange>(); }
  const Membership& members() const { return run_.members; }

 private:
  // The parts that handle messages about a model, once there is one.
  struct Parts {
    Parts(RunState& run, TimeMs now, TimeMs rest_until_ms)
        : ordered(run, *run.shard, now), snapshot(run, ordered, rest_until_ms) {}
    OrderedRun ordered;
    SnapshotTaking snapshot;
  };

  void handle(const Sender& from, Message&& message, TimeMs now);
  // Ends connections that no process needs.
  void cut_orphans();
  void on_hello(const Sender& from, const Message& message, TimeMs now);
  void probe(std::uint32_t worker);
  void admit(std::uint32_t worker, TimeMs now);
  void welcome(std::uint32_t worker);
  void welcome_everyone();
  bool fits_job(const Greeting& greeting);
  std::string misfit(const HelloRecord& hello) const;
  void on_create(const Sender& from, const Message& message);
  void on_load(const Sender& from, const Message& message);
  void on_create_end(const Message& message, TimeMs now);
  void on_push(const Route& route, Message&& message, TimeMs now);
  void depart(std::uint32_t worker, TimeMs now);
  void on_leave(const Message& message, TimeMs now);
  void on_await_others(const Route& route, const Header& header, TimeMs now);
  void on_done(const Route& route, const Header& header, TimeMs now);
  // The session of the chief; null if there is no chief, or if its process is gone.
  const Session* chief() const;
  // Settles whether this worker, whose process has just been admitted, is the chief.
  void settle_chief(std::uint32_t worker, TimeMs now);
  // Notes since when there has been no chief.
  void watch_chief(TimeMs now);
  // Answers the workers that wait for others to be done, or tells them from time to time whom they wait for.
  void tell_awaiting(TimeMs now);

  RunState run_;
  std::optional<Creation> creation_;
  std::optional<Parts> parts_;           // present together with the shard
  std::optional<std::uint32_t> chief_;   // the worker that is the chief
  std::optional<TimeMs> chief_seen_ms_;  // when it was last heard; at first: when the run began
  Fingerprint fingerprint_;              // the chief's
  std::int64_t num_parameters_ = 0;      // of the whole model, as stated by the chief
  // A question that is answered when others are done.
  struct Awaiting {
    Route route;
    Header question;
    TimeMs notice_ms = 0;  // when the next notice is due
  };
  TimeMs last_done_ms_ = 0;  // when a worker was last done
  bool late_ones_had_time_ = false;
  std::optional<Awaiting> awaiting_others_;         // the chief's kAwaitOthers
  std::map<std::uint32_t, Awaiting> awaiting_end_;  // kDone of other workers, which end after the chief
};

}  // namespace distmnist
