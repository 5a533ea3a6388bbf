// Membership: which process acts for each worker task, as seen by one ps. A pure state machine: times go in, decisions
// come out. A process holds a lease, which every message renews. A new process of the same task takes over if the
// present one does not answer a probe in time, and is turned away if it does. Incarnations only tell processes apart:
// their order means nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/time_ms.h"
#include "lib/base/unguessable.h"
#include "lib/ps/records/control.h"
#include "lib/wire/sender.h"

namespace distmnist {

inline constexpr TimeMs kProbeMs = 1'000;                // time in which the present process of a task must answer a
                                                         // probe
inline constexpr std::size_t kMaxNewcomers = 4;          // processes that wait for one task at a time
inline constexpr std::size_t kMaxLeases = 64;            // leases of a process that identify it, the newest
inline constexpr std::size_t kMaxRoutes = 4;             // connections of a process, the newest
inline constexpr std::size_t kMaxRetiredProcesses = 16;  // of a task, kept in memory

// A process's hello and its sender.
struct Greeting {
  Header header;
  Sender from;
  HelloRecord hello;
};

struct Session {
  Greeting greeting;
  std::uint64_t lease = 0;
  TimeMs last_heard_ms = 0;
  std::deque<std::uint64_t> leases;  // this lease and those before it, the newest last
  bool proven = false;               // the process has named one of its leases
  Route ping_route;                  // of its heartbeat; empty before the first one
  bool lost = false;
  std::deque<Route> routes;  // on which the process has been heard, the newest last

  std::uint32_t worker() const { return greeting.header.worker; }
  std::uint64_t incarnation() const { return greeting.header.incarnation; }
};

struct Member {
  std::optional<Session> session;  // the process that acts for the task now
  std::vector<Greeting> waiting;   // other processes, in order of arrival, while the present one is probed
  TimeMs probe_deadline_ms = 0;
  std::uint64_t latest = 0;           // the process admitted last; 0: none yet
  std::deque<std::uint64_t> retired;  // the processes before it, the oldest first
  bool done = false;
  bool reported = false;  // that it is done, to this ps
};

enum class Admission {
  kAdmitted,  // session(worker) now belongs to the new process
  kProbe,     // send a probe to the present process; the new one is admitted or turned away later
  kRetired,   // a later process has taken over the task from this one
  kTaken,     // the maximum number of processes is waiting already
};

enum class Standing { kCurrent, kRetired, kUnknown };

class Membership {
 public:
  // lease_ms: silence after which a worker counts as lost.
  Membership(std::uint32_t num_workers, TimeMs lease_ms, NumberSource draw_lease = unguessable_number)
      : num_workers_(num_workers), lease_ms_(lease_ms), draw_lease_(std::move(draw_lease)) {}

  std::uint32_t num_workers() const { return num_workers_; }
  const std::map<std::uint32_t, Member>& members() const { return members_; }
  Session* session(std::uint32_t worker);
  // Whether the message comes from the process that acts for the task now. Other processes may learn its incarnation,
  // which is part of the marks of its pushes, so it must name a lease that it was given. (Its first lease may have been
  // lost on the way: until it has named one, its hello is enough.)
  bool is_current(const Header& header) const;
  Admission greet(Greeting greeting, TimeMs now);

  // Handles a message from a process: renews its lease. If it is the present process answering a probe, the waiting
  // processes are returned and must be turned away.
  struct Heard {
    Standing standing = Standing::kUnknown;
    std::vector<Greeting> turned_away;
    bool returned = false;  // it had counted as lost
    bool is_stuck = false;  // it counts as lost from now on, because its computation is stuck
  };
  Heard hear(const Header& header, const Route& route, TimeMs now);

  // Connections, since the last call, that no present or waiting process needs any more.
  std::vector<Route> take_orphans() { return std::exchange(orphans_, {}); }

  // Leases that have expired and probes that are unanswered at `now`.
  struct Tick {
    std::vector<std::uint32_t> lost;
    std::vector<std::uint32_t> taken_over;  // session(worker) now belongs to the new process
    std::vector<std::uint32_t> to_probe;    // a subset of taken_over: other processes wait for the new one's answer
  };
  Tick tick(TimeMs now);

  void leave(std::uint32_t worker, TimeMs now);
  // Ends the session of a process that was refused after it had been admitted.
  void dismiss(std::uint32_t worker) { end_session(members_[worker]); }
  // Ends all sessions and turns away all waiting processes: no connection is needed any more.
  void dismiss_all();
  // The worker has reported that it is done.
  void set_done(std::uint32_t worker);
  // A new model is there: a worker that has a live process takes part again. The others that are `done` have ended.
  void begin_again(const std::set<std::uint32_t>& done);
  std::set<std::uint32_t> done() const;
  // The process of the task that was admitted last, even if it is gone; 0: none.
  std::uint64_t latest(std::uint32_t worker) const;

  bool all_done() const { return missing().empty(); }
  bool all_reported() const;
  bool others_done(std::uint32_t worker) const;
  // The tasks that are not done.
  std::vector<std::uint32_t> missing() const;
  // Processes that hold a lease, are not done, and were heard at `heard_since` or later.
  int num_live(TimeMs heard_since = std::numeric_limits<TimeMs>::min()) const;
  // When a live process that was not done was last heard or left; empty before the first hello.
  std::optional<TimeMs> last_life_ms() const { return last_life_ms_; }

 private:
  // `again`: the present process of the task has sent another hello, and has proved that it is the same process.
  void admit(Member& member, Greeting greeting, bool again, TimeMs now);
  bool names_a_lease(const Session& session, const Header& header) const;
  void add_route(Session& session, const Route& route);
  void end_session(Member& member);

  std::uint32_t num_workers_;
  TimeMs lease_ms_;
  NumberSource draw_lease_;
  std::map<std::uint32_t, Member> members_;
  std::optional<TimeMs> last_life_ms_;
  std::vector<Route> orphans_;
};

}  // namespace distmnist
