#include "lib/ps/membership.h"

#include <utility>

namespace distmnist {

Session* Membership::session(std::uint32_t worker) {
  const auto at = members_.find(worker);
  return at == members_.end() || !at->second.session ? nullptr : &*at->second.session;
}

void Membership::admit(Member& member, Greeting greeting, TimeMs now) {
  const bool same_process = member.session && member.session->incarnation() == greeting.header.incarnation;
  const Route ping_route = same_process ? member.session->ping_route : Route();
  member.newest_incarnation = greeting.header.incarnation;
  member.session = Session{std::move(greeting), ++last_lease_, now, ping_route, false};
  last_life_ms_ = now;
}

Admission Membership::greet(Greeting greeting, TimeMs now) {
  Member& member = members_[greeting.header.worker];
  const std::uint64_t incarnation = greeting.header.incarnation;
  if (incarnation < member.newest_incarnation) return Admission::kRetired;
  const bool other_lives = member.session && member.session->incarnation() != incarnation && !member.session->lost;
  if (!other_lives || member.done) {
    admit(member, std::move(greeting), now);
    return Admission::kAdmitted;
  }
  if (!member.waiting) {
    member.probe_deadline_ms = now + kProbeMs;
  } else if (incarnation < member.waiting->header.incarnation) {
    return Admission::kTaken;
  }
  // The latest greeting: of the same process over a new connection, or of a still newer one, for the first may have
  // died.
  member.waiting = std::move(greeting);
  return Admission::kProbe;
}

Membership::Heard Membership::hear(const Header& header, const Route& route, TimeMs now) {
  Heard heard;
  const auto at = members_.find(header.worker);
  if (at == members_.end() || !at->second.session) return heard;
  Member& member = at->second;
  if (header.incarnation != member.session->incarnation()) {
    if (header.incarnation < member.newest_incarnation) heard.standing = Standing::kRetired;
    return heard;
  }
  heard.standing = Standing::kCurrent;
  heard.returned = std::exchange(member.session->lost, false);
  // A process that says that it goes makes room.
  if (header.type != MessageType::kLeave) heard.turned_away = std::exchange(member.waiting, std::nullopt);
  member.session->last_heard_ms = now;
  if (header.type == MessageType::kPing) member.session->ping_route = route;
  if (!member.done) last_life_ms_ = now;
  return heard;
}

Membership::Tick Membership::tick(TimeMs now) {
  Tick out;
  for (auto& [worker, member] : members_) {
    if (member.waiting && now >= member.probe_deadline_ms) {
      admit(member, *std::exchange(member.waiting, std::nullopt), now);
      out.taken_over.push_back(worker);
    } else if (member.session && !member.session->lost && now - member.session->last_heard_ms >= kLeaseMs) {
      member.session->lost = true;
      if (!member.done) out.lost.push_back(worker);
    }
  }
  return out;
}

void Membership::leave(std::uint32_t worker, TimeMs now) {
  Member& member = members_[worker];
  member.session.reset();
  member.probe_deadline_ms = now;
  last_life_ms_ = now;
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
