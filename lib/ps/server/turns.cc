#include "lib/ps/server/turns.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "lib/ps/server/staged_pushes.h"

namespace distmnist {

Turns::Turns(const Strategy& strategy, std::uint32_t num_workers, TimeMs now, TimeMs max_wait_ms,
             TimeMs notice_every_ms)
    : max_wait_ms_(max_wait_ms),
      notice_every_ms_(notice_every_ms),
      coordinator_(make_coordinator(strategy, num_workers, now, max_wait_ms)),
      last_update_ms_(now) {}

// ---- From the workers ----

void Turns::join(const Route& route, const Header& request, TimeMs now) {
  Worker& worker = workers_[request.worker];
  if (worker.joined != request.incarnation) {
    depart(request.worker, now);
    worker.joined = request.incarnation;
    worker.decided = {request.incarnation, 0};
  }
  coordinator_->arrive(request.worker);
  wait(route, request, now);
}

Turns::Known Turns::known(const Header& commit) const {
  const auto at = workers_.find(commit.worker);
  const PushMark decided = at == workers_.end() ? PushMark{} : at->second.decided;
  const PushMark mark = id_of(commit).mark;
  return mark.before(decided) ? Known::kOlder : mark == decided ? Known::kDecided : Known::kNew;
}

Verdict Turns::decide(const Route& route, const Header& commit, std::int64_t global_step, TimeMs now) {
  Worker& worker = workers_[commit.worker];
  worker.decided = id_of(commit).mark;
  // A real worker never pushes before its turn, or from parameters that do not exist yet: it would take another
  // worker's place.
  const bool out_of_turn = std::exchange(worker.turn_of, 0) != commit.incarnation || commit.step > global_step;
  if (out_of_turn) {
    worker.verdict = {false, 0};
  } else if ((commit.flags & kNotFinite) != 0) {
    worker.verdict = coordinator_->drop(id_of(commit), commit.step, global_step);
  } else {
    worker.verdict = coordinator_->push(id_of(commit), commit.step, global_step);
  }
  wait(route, commit, now);
  return worker.verdict;
}

void Turns::ask_again(const Route& route, const Header& commit, TimeMs now) {
  wait(route, commit, now);
}

void Turns::wait(const Route& route, const Header& request, TimeMs now) {
  const auto waiting = std::ranges::find(waiting_, request.worker, [](const Waiting& w) { return w.request.worker; });
  if (waiting == waiting_.end()) {
    waiting_.push_back({route, request, now, now + kFirstNoticeMs});
  } else if (request.sequence >= waiting->request.sequence) {  // Otherwise a late duplicate of an answered question.
    // Asked again, perhaps on a different connection: it keeps its place.
    waiting->route = route;
    waiting->request = request;
  }
}

void Turns::depart(std::uint32_t worker, TimeMs now) {
  std::erase_if(waiting_, [worker](const Waiting& waiting) { return waiting.request.worker == worker; });
  coordinator_->depart(worker, now);
}

void Turns::arrive(std::uint32_t worker) {
  const auto at = workers_.find(worker);
  if (at != workers_.end() && at->second.joined != 0) coordinator_->arrive(worker);
}

// ---- To the workers ----

std::optional<Update> Turns::next_update(TimeMs now) {
  std::optional<Update> update = coordinator_->next_update();
  if (update) last_update_ms_ = now;
  return update;
}

std::optional<Turns::Grant> Turns::next_grant(std::int64_t global_step, TimeMs now) {
  for (auto waiting = waiting_.begin(); waiting != waiting_.end(); ++waiting) {
    if (!coordinator_->take_token(waiting->request.worker, global_step)) continue;
    Worker& worker = workers_[waiting->request.worker];
    worker.turn_of = waiting->request.incarnation;
    Grant grant{waiting->route, waiting->request, {}};
    if (waiting->request.type == MessageType::kCommit) {
      grant.token.accepted = worker.verdict.accepted;
      grant.token.staleness = worker.verdict.staleness;
      grant.token.finite = worker.verdict.finite;
    }
    grant.token.waited_ms = static_cast<std::uint32_t>(now - waiting->since_ms);
    waiting_.erase(waiting);
    return grant;
  }
  return std::nullopt;
}

std::vector<std::string> Turns::watch(TimeMs now) {
  CoordinatorTick tick = coordinator_->tick(now);
  failure_ = std::move(tick.failure);
  if (tick.eased) last_update_ms_ = now;  // All waiting workers get time to see what happens.
  return std::move(tick.warnings);
}

Turns::Words Turns::tell_waiting(std::int64_t global_step, TimeMs now) {
  Words out;
  const std::string whom = waiting_.empty() ? "" : coordinator_->waiting_for(global_step);
  for (Waiting& waiting : waiting_) {
    const TimeMs idle_ms = now - std::max(waiting.since_ms, last_update_ms_);
    if (failure_) {
      out.refusals.push_back({waiting.route, waiting.request, *failure_});
    } else if (idle_ms >= max_wait_ms_) {
      out.refusals.push_back(
          {waiting.route, waiting.request,
           fmt::format("gave up after waiting {:.0f} s for {}", static_cast<double>(idle_ms) / 1000, whom)});
    } else if (now >= waiting.notice_ms) {
      waiting.notice_ms = now + notice_every_ms_;
      out.notices.push_back({waiting.route, waiting.request, "waiting for " + whom});
    }
  }
  for (const Word& refusal : out.refusals) depart(refusal.request.worker, now);
  return out;
}

}  // namespace distmnist
