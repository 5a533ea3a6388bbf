#include "lib/ps/server/snapshot_taking.h"

#include <algorithm>
#include <utility>

namespace distmnist {

void SnapshotTaking::on_question(const Sender& from, Message&& message, TimeMs now) {
  const bool takes = message.header.type == MessageType::kSnapshotTake;
  if (!hold_ && now < rest_until_ms_) {
    put_off_.emplace(from, std::move(message));
  } else if (takes) {
    on_take(from, message, now);
  } else {
    on_begin(from.route, message.header, now);
  }
}

void SnapshotTaking::tick(TimeMs now) {
  if (put_off_ && now >= rest_until_ms_) {
    auto [from, message] = *std::exchange(put_off_, std::nullopt);
    const Header& header = message.header;
    if (run_.members.is_current(header)) on_question(from, std::move(message), now);
  }
  if (!hold_ || !hold_->overdue(now)) return;
  if (hold_->take()) {
    run_.actions.log_event(LogLevel::kWarning, "snapshot",
                           "the snapshot is taken without a push that reached another ps but not this one");
    try_take(false, now);
  } else {
    release_hold(now);
  }
}

void SnapshotTaking::on_begin(const Route& route, const Header& header, TimeMs now) {
  if (!hold_) hold_.emplace(now);
  run_.reply(route, header, MessageType::kSnapshotVector, encode(progress()));
}

void SnapshotTaking::on_take(const Sender& from, const Message& message, TimeMs now) {
  auto record = decode<SnapshotRecord>(message.payload.bytes());
  if (!record) return run_.cut_off(from, message.header, "a snapshot request that cannot be read");
  if (shard_.ordered()) {
    if (run_.ps.index != 0 && !ordered_.make_updates(from, message.header, record->updates)) return;
    send_snapshot(from.route, message.header);
    rest_until_ms_ = now + kSnapshotRestMs;
    if (hold_) release_hold(now);
    return;
  }
  std::erase_if(record->marks, [this](const auto& entry) { return entry.first >= run_.ps.num_workers; });
  if (!hold_) hold_.emplace(now);  // Released in the meantime; what is applied by now is a whole step here, too.
  for (WholePush& push :
       hold_->set_target(from.route, message.header, std::move(record->marks), run_.members.processes())) {
    run_.apply(std::move(push));
  }
  try_take(true, now);
}

bool SnapshotTaking::admit(WholePush&& push, TimeMs now) {
  if (hold_ && !hold_->admits(push)) {
    hold_->hold(std::move(push));
    return false;
  }
  if (hold_) {
    auto earlier = hold_->take_held_before(push.header.worker, push.header.incarnation);
    if (earlier) run_.apply(std::move(*earlier));
  }
  run_.apply(std::move(push));
  if (hold_) try_take(true, now);
  return true;
}

void SnapshotTaking::try_take(bool whole_steps_only, TimeMs now) {
  if (!hold_->take()) return;
  for (const auto& [worker, mark] : hold_->take()->target) {
    if (whole_steps_only && lacks(worker, mark)) return;
    give_up_push(worker, mark);
  }
  send_snapshot(hold_->take()->route, hold_->take()->request);
  release_hold(now);
}

// Whether a push that another ps has applied may still arrive. One from a process that has been replaced will not.
bool SnapshotTaking::lacks(std::uint32_t worker, const PushMark& mark) {
  const PushMark& own = shard_.histories[worker].mark;
  if (own == mark || mark.before(own)) return false;
  const auto at = run_.members.members().find(worker);
  return at != run_.members.members().end() && at->second.latest == mark.incarnation && !has_left(worker, mark);
}

// Whether the process that pushed this was the last of its task and has said that it leaves: nothing more arrives.
bool SnapshotTaking::has_left(std::uint32_t worker, const PushMark& mark) const {
  const auto at = run_.members.members().find(worker);
  return at != run_.members.members().end() && !at->second.session && at->second.latest == mark.incarnation;
}

// A push that another ps has applied and that will not arrive here counts as arrived: otherwise no two ps tasks would
// ever be at the same pushes again.
void SnapshotTaking::give_up_push(std::uint32_t worker, const PushMark& mark) {
  PushMark& own = shard_.histories[worker].mark;
  if (own != mark && !mark.before(own) && has_left(worker, mark)) own = mark;
}

void SnapshotTaking::send_snapshot(const Route& route, const Header& request) {
  for (std::size_t slot = 0; slot <= shard_.store.num_slots(); ++slot) {
    run_.send_slot(route, request, slot);
  }
  Header end = run_.reply_header(request, MessageType::kSnapshotEnd);
  end.dtype = WireDtype::kRecord;
  end.slot = static_cast<std::uint8_t>(shard_.store.num_slots());  // So that a lost part is noticed.
  run_.actions.send(route, Message{end, encode(progress())});
}

void SnapshotTaking::release_hold(TimeMs now) {
  rest_until_ms_ = now + std::max(hold_->lasted_ms(now), kSnapshotRestMs);
  std::vector<WholePush> held = hold_->release();
  hold_.reset();
  for (WholePush& push : held) run_.apply(std::move(push));
  ordered_.release_commits(now);
}

SnapshotRecord SnapshotTaking::progress() const {
  SnapshotRecord record;
  for (const auto& [worker, history] : shard_.histories) {
    if (history.mark != PushMark{})
      record.marks[worker] = history.mark;  // Only workers that have pushed, so that all ps tasks say the same.
    record.consumed_samples[worker] = history.consumed_samples;
  }
  record.updates = ordered_.updates();
  record.processes = run_.members.processes();
  return record;
}

}  // namespace distmnist
