#include "lib/ps/server/membership.h"

#include <algorithm>
#include <utility>

namespace distmnist {
namespace {

std::uint64_t incarnation_of(const Greeting& greeting) {
  return greeting.header.incarnation;
}

bool is_retired(const Member& member, std::uint64_t incarnation) {
  return std::ranges::find(member.retired, incarnation) != member.retired.end();
}

}  // namespace

Session* Membership::session(std::uint32_t worker) {
  const auto at = members_.find(worker);
  return at == members_.end() || !at->second.session ? nullptr : &*at->second.session;
}

bool Membership::is_current(const Header& header) const {
  const auto at = members_.find(header.worker);
  if (at == members_.end() || !at->second.session) return false;
  const Session& session = *at->second.session;
  if (session.incarnation() != header.incarnation) return false;
  return names_a_lease(session, header) || (header.type == MessageType::kHello && !session.proven);
}

bool Membership::names_a_lease(const Session& session, const Header& header) const {
  return std::ranges::find(session.leases, header.lease) != session.leases.end();
}

std::uint64_t Membership::latest(std::uint32_t worker) const {
  const auto at = members_.find(worker);
  return at == members_.end() ? 0 : at->second.latest;
}

std::set<std::uint32_t> Membership::done() const {
  std::set<std::uint32_t> out;
  for (const auto& [worker, member] : members_) {
    if (member.done) out.insert(worker);
  }
  return out;
}

void Membership::admit(Member& member, Greeting greeting, bool again, TimeMs now) {
  const std::uint64_t incarnation = greeting.header.incarnation;
  const bool new_process = member.latest != incarnation;
  const Route route = greeting.from.route;
  Session next;
  next.greeting = std::move(greeting);
  next.lease = draw_lease_();
  next.last_heard_ms = now;
  if (again) {
    next.ping_route = member.session->ping_route;
    next.proven = member.session->proven;
    next.leases = std::move(member.session->leases);
    next.routes = std::move(member.session->routes);
  } else {
    end_session(member);
    std::erase(orphans_, route);
  }
  next.leases.push_back(next.lease);
  if (next.leases.size() > kMaxLeases) next.leases.pop_front();
  if (member.latest != 0 && new_process) {
    member.retired.push_back(member.latest);
    if (member.retired.size() > kMaxRetiredProcesses) member.retired.pop_front();
  }
  // What the previous process said does not hold for this one. (A run that is over stays over.)
  if (new_process && member.done && !all_reported()) member.done = member.reported = false;
  member.latest = incarnation;
  member.session = std::move(next);
  add_route(*member.session, route);
  last_life_ms_ = now;
}

void Membership::add_route(Session& session, const Route& route) {
  if (std::ranges::find(session.routes, route) != session.routes.end()) return;
  session.routes.push_back(route);
  if (session.routes.size() <= kMaxRoutes) return;
  orphans_.push_back(session.routes.front());
  session.routes.pop_front();
}

void Membership::end_session(Member& member) {
  if (!member.session) return;
  orphans_.insert(orphans_.end(), member.session->routes.begin(), member.session->routes.end());
  member.session.reset();
}

Admission Membership::greet(Greeting greeting, TimeMs now) {
  Member& member = members_[greeting.header.worker];
  const std::uint64_t incarnation = greeting.header.incarnation;
  if (is_retired(member, incarnation)) return Admission::kRetired;
  const bool again_here = is_current(greeting.header);
  const bool vacant = !member.session || member.session->lost || member.done;
  if (again_here || (vacant && member.waiting.empty())) {
    // If only its incarnation identifies the process, earlier leases of that incarnation expire: a different process
    // may hold them.
    const bool proves_it = again_here && names_a_lease(*member.session, greeting.header);
    admit(member, std::move(greeting), proves_it, now);
    return Admission::kAdmitted;
  }
  const auto again = std::ranges::find(member.waiting, incarnation, incarnation_of);
  if (again != member.waiting.end()) {
    if (again->from.route != greeting.from.route) orphans_.push_back(again->from.route);
    *again = std::move(greeting);  // On a new connection; it keeps its place.
    return Admission::kProbe;
  }
  if (member.waiting.size() >= kMaxNewcomers) return Admission::kTaken;
  if (member.waiting.empty()) member.probe_deadline_ms = now + kProbeMs;
  member.waiting.push_back(std::move(greeting));
  return Admission::kProbe;
}

Membership::Heard Membership::hear(const Header& header, const Route& route, TimeMs now) {
  Heard heard;
  const auto at = members_.find(header.worker);
  if (at == members_.end()) return heard;
  Member& member = at->second;
  if (!is_current(header)) {
    if (is_retired(member, header.incarnation)) heard.standing = Standing::kRetired;
    return heard;
  }
  heard.standing = Standing::kCurrent;
  member.session->proven |= header.type != MessageType::kHello;
  // A process that is alive but computes no more is of no use: a new one may take its place.
  if (header.type == MessageType::kPing && (header.flags & kIsStuck) != 0) {
    add_route(*member.session, route);
    heard.is_stuck = !std::exchange(member.session->lost, true) && !member.done;
    if (!member.waiting.empty()) member.probe_deadline_ms = now;
    return heard;
  }
  heard.returned = std::exchange(member.session->lost, false);
  // A process that says that it leaves makes room.
  if (header.type != MessageType::kLeave) heard.turned_away = std::exchange(member.waiting, {});
  for (const Greeting& other : heard.turned_away) orphans_.push_back(other.from.route);
  add_route(*member.session, route);
  member.session->last_heard_ms = now;
  if (header.type == MessageType::kPing) member.session->ping_route = route;
  if (!member.done) last_life_ms_ = now;
  return heard;
}

Membership::Tick Membership::tick(TimeMs now) {
  Tick out;
  for (auto& [worker, member] : members_) {
    if (!member.waiting.empty() && now >= member.probe_deadline_ms) {
      Greeting first = std::move(member.waiting.front());
      member.waiting.erase(member.waiting.begin());
      admit(member, std::move(first), false, now);
      out.taken_over.push_back(worker);
      if (member.waiting.empty()) continue;
      // It may have died in the meantime, like the one before.
      member.probe_deadline_ms = now + kProbeMs;
      out.to_probe.push_back(worker);
    } else if (member.session && !member.session->lost && now - member.session->last_heard_ms >= lease_ms_) {
      member.session->lost = true;
      if (!member.done) out.lost.push_back(worker);
    }
  }
  return out;
}

void Membership::leave(std::uint32_t worker, TimeMs now) {
  Member& member = members_[worker];
  end_session(member);
  member.probe_deadline_ms = now;
  last_life_ms_ = now;
}

void Membership::dismiss_all() {
  for (auto& [worker, member] : members_) {
    end_session(member);
    for (const Greeting& other : std::exchange(member.waiting, {})) orphans_.push_back(other.from.route);
  }
}

void Membership::set_done(std::uint32_t worker) {
  Member& member = members_[worker];
  member.done = member.reported = true;
}

void Membership::begin_again(const std::set<std::uint32_t>& done) {
  for (auto& [worker, member] : members_) {
    const bool is_live = member.session && !member.session->lost;
    member.done = member.done && !is_live;
    member.reported = false;
  }
  for (const std::uint32_t worker : done) {
    const Session* session = this->session(worker);
    if (worker < num_workers_ && (session == nullptr || session->lost)) members_[worker].done = true;
  }
}

bool Membership::all_reported() const {
  return all_done() && std::ranges::all_of(members_, [](const auto& entry) { return entry.second.reported; });
}

bool Membership::others_done(std::uint32_t worker) const {
  for (const std::uint32_t other : missing()) {
    if (other != worker) return false;
  }
  return true;
}

std::vector<std::uint32_t> Membership::missing() const {
  std::vector<std::uint32_t> out;
  for (std::uint32_t worker = 0; worker < num_workers_; ++worker) {
    const auto at = members_.find(worker);
    if (at == members_.end() || !at->second.done) out.push_back(worker);
  }
  return out;
}

int Membership::num_live(TimeMs heard_since) const {
  int live = 0;
  for (const auto& [worker, member] : members_) {
    const bool holds_lease = member.session && !member.session->lost && !member.done;
    live += holds_lease && member.session->last_heard_ms >= heard_since;
  }
  return live;
}

}  // namespace distmnist
