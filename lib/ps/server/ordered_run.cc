#include "lib/ps/server/ordered_run.h"

#include <algorithm>
#include <utility>

#include "lib/ps/records/names.h"

namespace distmnist {

OrderedRun::OrderedRun(RunState& run, Shard& shard, TimeMs now)
    : run_(run),
      shard_(shard),
      staged_((shard.strategy.sync ? shard.strategy.replicas_to_aggregate : 1) + kMaxAbandonedPushes) {
  if (run.ps.index == 0)
    turns_.emplace(shard.strategy, run.ps.num_workers, now, run.limits.recovery_wait_ms, run.notice_every_ms());
}

// ---- On every ps ----

void OrderedRun::stage(WholePush&& push) {
  History& history = shard_.histories[push.header.worker];
  const Route route = push.route;
  const Header header = push.header;
  const bool bad = push.bad.has_value();
  const PushMark mark = mark_of(header);
  if (mark != history.mark && !mark.before(history.mark)) {  // Otherwise only the answer was lost.
    history.mark = mark;
    staged_.stage(std::move(push));
  }
  if (run_.ps.index == 0) return;
  Header answer = run_.reply_header(header, MessageType::kStaged);
  if (bad) answer.flags |= kNotFinite;
  run_.actions.send(route, Message{answer, {}});
}

void OrderedRun::on_advance(const Sender& from, const Message& message) {
  const Header& header = message.header;
  if (run_.ps.index == 0 || !run_.ordered())
    return run_.cut_off(from, header, "a list of updates, which this ps does not take");
  const auto record = decode<UpdatesRecord>(message.payload.bytes());
  if (!record) return run_.cut_off(from, header, "a list of updates that cannot be read");
  if (record->dropped != 0) staged_.discard({header.worker, {header.incarnation, record->dropped}});
  if (make_updates(from, header, record->updates)) run_.send_parameters(from.route, header, header.wants);
}

// Applies those of ps 0's updates that this ps has not applied yet. Refuses and returns false if it cannot.
bool OrderedRun::make_updates(const Sender& from, const Header& request, const std::vector<Update>& updates) {
  for (const Update& update : updates) {
    if (contradicts(update)) {
      run_.fail_run(
          fmt::format("ps:{} received two different versions of update {}, the second one from {} at {}, so the parts "
                      "of the model no longer match; resume from the newest checkpoint",
                      run_.ps.index, update.commit, task_name(request.worker), from.address));
      return false;
    }
    if (update.commit <= shard_.store.commit()) continue;
    if (update.pushes.empty() || update.commit != shard_.store.commit() + 1 || !staged_.has_all(update)) {
      run_.refuse(from, request, ExitCode::kInternal,
                  fmt::format("ps:{} is at update {} and cannot make update {} because its gradients have not arrived",
                              run_.ps.index, shard_.store.commit(), update.commit));
      return false;
    }
    if (const WholePush* bad = staged_.bad_one_of(update)) {  // Its worker did not report it.
      run_.fail_run(shard_.describe(*bad));
      return false;
    }
    if (!(update.rate_factor > 0 && update.rate_factor <= 1)) {  // Not from ps 0: the model would be ruined.
      run_.refuse(
          from, request, ExitCode::kInternal,
          fmt::format("an update asks for {} times the learning rate, but at most 1 is allowed", update.rate_factor));
      return false;
    }
    for (const PushId& id : update.pushes)
      shard_.histories[id.worker].consumed_samples += staged_.at(id).header.samples;
    make(update);
  }
  return true;
}

// Whether a different update with this number was applied.
bool OrderedRun::contradicts(const Update& update) const {
  const auto made = std::ranges::find(made_, update.commit, &Update::commit);
  return made != made_.end() && *made != update;
}

void OrderedRun::make(const Update& update) {
  run_.all_or_nothing([&] {
    if (run_.ps.index != 0) remember_made(update);
    WholePush first = staged_.make(update, shard_.store, run_.pool);
    shard_.published.adopt(shard_.store, first.header.dtype, std::move(first.gradients));
  });
}

void OrderedRun::remember_made(const Update& update) {
  made_.push_back(update);
  std::size_t pushes = 0;
  for (const Update& each : made_) pushes += each.pushes.size();
  while (made_.size() > 1 && (made_.size() > kMaxMadeUpdates || pushes > kMaxPushesToTell)) {
    pushes -= made_.front().pushes.size();
    made_.pop_front();
  }
}

// ---- On ps 0 ----

void OrderedRun::on_join(const Route& route, const Header& header, TimeMs now) {
  if (!turns_) return;
  turns_->join(route, header, now);
  go_on(now);
}

void OrderedRun::on_commit(const Sender& from, const Header& header, bool held, TimeMs now) {
  if (!turns_ || run_.failure) return;
  switch (turns_->known(header)) {
    case Turns::Known::kOlder:
      return;
    case Turns::Known::kDecided:
      turns_->ask_again(from.route, header, now);
      return go_on(now);
    case Turns::Known::kNew:
      break;
  }
  if (!staged_.has(id_of(header))) return;  // A part of the push was lost; all of it will be sent again.
  const std::string fault = fault_of_commit(header);
  if (!fault.empty()) return run_.refuse(from, header, ExitCode::kInternal, fault);
  // Every other ps has applied the updates up to this one, so they do not have to be told again.
  std::erase_if(updates_, [&](const Update& update) { return update.commit <= header.commit; });
  if (!has_room_for_update()) {
    return run_.refuse(from, header, ExitCode::kInternal,
                       fmt::format("{} updates have not reached every other ps yet; no more are made until they have",
                                   updates_.size()));
  }
  if (held) {
    std::erase_if(held_commits_, [&](const auto& waiting) { return waiting.second.worker == header.worker; });
    return held_commits_.emplace_back(from, header), void();
  }
  decide(from.route, header, now);
}

// Between two of its commits, a worker visits every other ps with the updates from its token. Updates that no commit
// confirms would pile up here.
std::string OrderedRun::fault_of_commit(const Header& header) const {
  if (header.commit > shard_.store.commit()) {
    return fmt::format("{} mentions update {}, but there have been only {}", task_name(header.worker), header.commit,
                       shard_.store.commit());
  }
  const auto at = shard_.histories.find(header.worker);
  if (at != shard_.histories.end() && at->second.told.incarnation == header.incarnation &&
      header.commit < at->second.told.commit) {
    return fmt::format("{} was told of update {} but brought the other ps tasks only to update {}",
                       task_name(header.worker), at->second.told.commit, header.commit);
  }
  return {};
}

bool OrderedRun::has_room_for_update() const {
  std::size_t pushes = 0;
  for (const Update& update : updates_) pushes += update.pushes.size();
  return updates_.size() < kMaxUpdatesToTell && pushes < kMaxPushesToTell;
}

void OrderedRun::note_told(const Header& question) {
  Told& told = shard_.histories[question.worker].told;
  const bool same = told.incarnation == question.incarnation;
  if (same && question.sequence <= told.question) return;
  told = {question.incarnation, question.sequence, shard_.store.commit()};
}

void OrderedRun::decide(const Route& route, Header commit, TimeMs now) {
  const PushId id = id_of(commit);
  History& history = shard_.histories[commit.worker];
  const WholePush& push = staged_.at(id);
  const std::int64_t samples = push.header.samples;
  if (push.bad) commit.flags |= kNotFinite;
  count_skipped(commit, push);
  if (run_.failure) return;
  if (turns_->decide(route, commit, shard_.store.global_step(), now).accepted) {
    history.pending_samples += samples;
    staged_.accept(id);
  } else {
    history.consumed_samples += samples;
    staged_.discard(id);
  }
  go_on(now);
}

// A single bad batch is no reason to stop. If batch after batch is bad, the model is ruined.
void OrderedRun::count_skipped(const Header& commit, const WholePush& push) {
  int& skipped = shard_.histories[commit.worker].skipped_in_a_row;
  if ((commit.flags & kNotFinite) == 0) {
    skipped = 0;
    return;
  }
  const std::string what = push.bad
                               ? shard_.describe(push)
                               : fmt::format("worker:{} had a loss or a gradient that is not finite at global_step {}",
                                             commit.worker, commit.step);
  if (++skipped == 1) {
    run_.actions.log_event(LogLevel::kWarning, "skipped " + task_name(commit.worker),
                           what + ": dropped (--on_nan=skip)");
  }
  if (skipped < kMaxSkippedInARow) return;
  run_.fail_run(
      fmt::format("{}, the {}th in a row, so the model itself is ruined; resume from the newest checkpoint with a "
                  "lower --learning_rate",
                  what, skipped));
}

// Makes the updates that are due, and answers the workers whose turn has come.
void OrderedRun::go_on(TimeMs now) {
  while (auto update = turns_->next_update(now)) {
    update->commit = shard_.store.commit() + 1;
    for (const PushId& id : update->pushes) {
      const std::int64_t samples = staged_.at(id).header.samples;
      shard_.histories[id.worker].pending_samples -= samples;
      shard_.histories[id.worker].consumed_samples += samples;
    }
    if (run_.ps.num_ps > 1) updates_.push_back(*update);
    make(*update);
    if (run_.failure) return;
  }
  while (auto turn = turns_->next_grant(shard_.store.global_step(), now)) {
    const History& history = shard_.histories[turn->request.worker];
    turn->token.consumed_samples = history.consumed_samples + history.pending_samples;
    turn->token.updates = updates_;
    note_told(turn->request);
    run_.reply(turn->route, turn->request, MessageType::kToken, encode(turn->token));
    run_.send_parameters(turn->route, turn->request, turn->request.wants);
  }
}

void OrderedRun::note_update(TimeMs now) {
  if (!turns_) return;
  turns_->note_update(now);
  go_on(now);  // A new worker may have waited for this step.
}

void OrderedRun::release_commits(TimeMs now) {
  // As if they arrived now: the process of one may have been replaced in the meantime.
  for (const auto& [from, commit] : std::exchange(held_commits_, {})) on_commit(from, commit, false, now);
  if (turns_) go_on(now);
}

void OrderedRun::arrive(std::uint32_t worker) {
  if (turns_) turns_->arrive(worker);
}

void OrderedRun::depart(std::uint32_t worker, TimeMs now) {
  if (!turns_) return;
  std::erase_if(held_commits_, [worker](const auto& waiting) { return waiting.second.worker == worker; });
  turns_->depart(worker, now);
  go_on(now);
}

void OrderedRun::retire(std::uint32_t worker, TimeMs now) {
  if (!turns_) return;
  depart(worker, now);
  turns_->retire(worker);
  go_on(now);
}

void OrderedRun::tick(TimeMs now) {
  if (!turns_) return;
  for (const std::string& warning : turns_->watch(now)) run_.actions.log_event(LogLevel::kWarning, "turns", warning);
  go_on(now);  // First: a worker that may continue because another one is missing is not told to give up.
  const Turns::Words words = turns_->tell_waiting(shard_.store.global_step(), now);
  for (const Turns::Word& notice : words.notices) {
    run_.reply(notice.route, notice.request, MessageType::kNotice, encode(NoticeRecord{notice.text}));
  }
  for (const Turns::Word& refusal : words.refusals) {
    const Session* session = run_.members.session(refusal.request.worker);
    Sender to = session != nullptr ? session->greeting.from : Sender{};
    to.route = refusal.route;
    run_.refuse(to, refusal.request, ExitCode::kLostPeer, refusal.text);
  }
  go_on(now);
}

}  // namespace distmnist
