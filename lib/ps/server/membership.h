// Membership: which process speaks for each worker task, as seen by one ps. A pure state machine: times come in,
// verdicts come out. A process holds a lease that any message renews; another process of the same task takes over when
// the present one does not answer a probe in time, and is turned away when it does. Incarnations tell processes apart;
// nothing is concluded from which is the larger.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/time_ms.h"
#include "lib/base/unguessable.h"
#include "lib/ps/records/control.h"
#include "lib/wire/sender.h"

namespace distmnist {

inline constexpr TimeMs kLeaseMs = 15'000;               // silence after which a worker counts as lost
inline constexpr TimeMs kProbeMs = 1'000;                // time the present process of a task has to answer a probe
inline constexpr std::size_t kMaxNewcomers = 4;          // that wait for one task at a time
inline constexpr std::size_t kMaxLeases = 64;            // of a process, that prove who it is, the newest
inline constexpr std::size_t kMaxRoutes = 4;             // connections of a process, the newest
inline constexpr std::size_t kMaxRetiredProcesses = 16;  // of a task, that are remembered

// A process's greeting and where it came from.
struct Greeting {
  Header header;
  Sender from;
  HelloRecord hello;
};

struct Session {
  Greeting greeting;
  std::uint64_t lease = 0;
  TimeMs last_heard_ms = 0;
  std::deque<std::uint64_t> leases;  // this one and those before it, the newest last
  bool proven = false;               // the process has named one of them
  Route ping_route;                  // of its heartbeat; empty before the first one
  bool lost = false;
  std::deque<Route> routes;  // that it has been heard over, the newest last

  std::uint64_t incarnation() const { return greeting.header.incarnation; }
};

struct Member {
  std::optional<Session> session;  // the process that speaks for the task now
  std::vector<Greeting> waiting;   // others, in order of arrival, while that one is probed
  TimeMs probe_deadline_ms = 0;
  std::uint64_t latest = 0;           // the process that was let in last; 0: none yet
  std::deque<std::uint64_t> retired;  // the processes before it, the oldest first
  bool done = false;
};

enum class Admission {
  kAdmitted,  // session(worker) is the new process's
  kProbe,     // send a probe to the present process; admitted or turned away later
  kRetired,   // another process has taken the task over from this one
  kTaken,     // as many as may be are waiting already
};

enum class Standing { kCurrent, kRetired, kUnknown };

class Membership {
 public:
  explicit Membership(std::uint32_t num_workers, NumberSource draw_lease = unguessable_number)
      : num_workers_(num_workers), draw_lease_(std::move(draw_lease)) {}

  std::uint32_t num_workers() const { return num_workers_; }
  const std::map<std::uint32_t, Member>& members() const { return members_; }
  Session* session(std::uint32_t worker);
  // Whether the message comes from the process that speaks for the task now. Others may come to know its incarnation,
  // which stands in the marks of its pushes; so it has to name a lease that it was given. (Its first one may have been
  // lost on the way: until it has named one, its greeting will do.)
  bool is_current(const Header& header) const;
  // The process of each task that was let in last, whether it is still there or not.
  Processes processes() const;

  Admission greet(Greeting greeting, TimeMs now);

  // A message came from a process: renews its lease. Where it is the present process answering a probe, those who wait
  // are returned to be turned away.
  struct Heard {
    Standing standing = Standing::kUnknown;
    std::vector<Greeting> turned_away;
    bool returned = false;  // it had counted as lost
  };
  Heard hear(const Header& header, const Route& route, TimeMs now);

  // Connections, since the last call, of which no process that speaks or waits has need any more.
  std::vector<Route> take_orphans() { return std::exchange(orphans_, {}); }

  // Leases that ran out and probes that went unanswered by `now`.
  struct Tick {
    std::vector<std::uint32_t> lost;
    std::vector<std::uint32_t> taken_over;  // session(worker) is the newcomer's
    std::vector<std::uint32_t> to_probe;    // of these: others wait for the newcomer's answer
  };
  Tick tick(TimeMs now);

  void leave(std::uint32_t worker, TimeMs now);
  // Ends the session of a process that was refused after it had been admitted.
  void dismiss(std::uint32_t worker) { end_session(members_[worker]); }
  // Ends all sessions and turns away all processes that wait: no connection is needed any more.
  void dismiss_all();
  void set_done(std::uint32_t worker) { members_[worker].done = true; }

  bool all_done() const { return missing().empty(); }
  bool others_done(std::uint32_t worker) const;
  // Tasks that are not done, "worker:1, worker:2".
  std::vector<std::uint32_t> missing() const;
  // Processes that hold a lease, are not done, and have been heard at `heard_since` or later.
  int num_live(TimeMs heard_since = std::numeric_limits<TimeMs>::min()) const;
  // When the last live, not finished process was heard or left; nothing before the first greeting.
  std::optional<TimeMs> last_life_ms() const { return last_life_ms_; }

 private:
  // `again`: the process that speaks for the task has greeted once more, and has proved that it is that one.
  void admit(Member& member, Greeting greeting, bool again, TimeMs now);
  bool names_a_lease(const Session& session, const Header& header) const;
  void add_route(Session& session, const Route& route);
  void end_session(Member& member);

  std::uint32_t num_workers_;
  NumberSource draw_lease_;
  std::map<std::uint32_t, Member> members_;
  std::optional<TimeMs> last_life_ms_;
  std::vector<Route> orphans_;
};

}  // namespace distmnist
