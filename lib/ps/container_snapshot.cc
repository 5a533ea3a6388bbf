// The part of Container that is about snapshots: all ps tasks stop at the same pushes.
#include <algorithm>
#include <utility>

#include "lib/ps/container.h"

namespace distmnist {

// Training goes on for at least as long between two holds as the first of them has lasted, whatever the chief asks.
void Container::on_snapshot(const Sender& from, Message&& message, TimeMs now) {
  const bool takes = message.header.type == MessageType::kSnapshotTake;
  if (!hold_ && now < rest_until_ms_) {
    put_off_.emplace(from, std::move(message));
  } else if (takes) {
    on_snapshot_take(from, message, now);
  } else {
    on_snapshot_begin(from.route, message.header, now);
  }
}

void Container::tick_snapshot(TimeMs now) {
  if (put_off_ && now >= rest_until_ms_) {
    auto [from, message] = *std::exchange(put_off_, std::nullopt);
    const Header& header = message.header;
    if (store_ && header.run == run_ && members_.is_current(header)) {
      on_snapshot(from, std::move(message), now);
    }
  }
  if (!hold_ || !hold_->overdue(now)) return;
  if (hold_->take()) {
    actions_.log_event(LogLevel::kWarning, "snapshot",
                       "snapshot: a push that reached another ps did not arrive here; taken without it");
    try_take(false, now);
  } else {
    release_hold(now);
  }
}

void Container::on_snapshot_begin(const Route& route, const Header& header, TimeMs now) {
  if (!hold_) hold_.emplace(now);
  reply(route, header, MessageType::kSnapshotVector, encode(progress()));
}

void Container::on_snapshot_take(const Sender& from, const Message& message, TimeMs now) {
  auto record = decode<SnapshotRecord>(message.payload.bytes());
  if (!record) return cut_off(from, message.header, "a question about a snapshot that cannot be read");
  if (ordered()) {
    if (ps_.index != 0 && !make_updates(from, message.header, record->updates)) return;
    send_snapshot(from.route, message.header);
    rest_until_ms_ = now + kSnapshotRestMs;
    if (hold_) release_hold(now);
    return;
  }
  std::erase_if(record->marks, [this](const auto& entry) { return entry.first >= ps_.num_workers; });
  if (!hold_) hold_.emplace(now);  // It was released meanwhile; what is applied by now is a whole step here, too.
  for (WholePush& push :
       hold_->set_target(from.route, message.header, std::move(record->marks), members_.processes())) {
    apply(std::move(push));
  }
  try_take(true, now);
}

void Container::try_take(bool whole_steps_only, TimeMs now) {
  if (!hold_->take()) return;
  for (const auto& [worker, mark] : hold_->take()->target) {
    if (whole_steps_only && lacks(worker, mark)) return;
    give_up_push(worker, mark);
  }
  send_snapshot(hold_->take()->route, hold_->take()->request);
  release_hold(now);
}

// Whether a push that another ps has applied may yet come: that of a process that another has followed does not.
bool Container::lacks(std::uint32_t worker, const PushMark& mark) {
  const PushMark& own = histories_[worker].mark;
  if (own == mark || mark.before(own)) return false;
  const auto at = members_.members().find(worker);
  return at != members_.members().end() && at->second.latest == mark.incarnation && !has_left(worker, mark);
}

// Whether the process that has pushed this was the last of its task and has said that it goes: nothing more comes.
bool Container::has_left(std::uint32_t worker, const PushMark& mark) const {
  const auto at = members_.members().find(worker);
  return at != members_.members().end() && !at->second.session && at->second.latest == mark.incarnation;
}

// A push that another ps has applied and that will not come here counts as one that has: or no two ps tasks would ever
// be at the same pushes again.
void Container::give_up_push(std::uint32_t worker, const PushMark& mark) {
  PushMark& own = histories_[worker].mark;
  if (own != mark && !mark.before(own) && has_left(worker, mark)) own = mark;
}

void Container::send_snapshot(const Route& route, const Header& request) {
  for (std::size_t slot = 0; slot <= store_->num_slots(); ++slot) {
    send_slot(route, request, slot);
  }
  Header end = reply_header(request, MessageType::kSnapshotEnd);
  end.dtype = WireDtype::kRecord;
  end.slot = static_cast<std::uint8_t>(store_->num_slots());  // So that a part that got lost is noticed.
  actions_.send(route, Message{end, encode(progress())});
}

void Container::release_hold(TimeMs now) {
  rest_until_ms_ = now + std::max(hold_->lasted_ms(now), kSnapshotRestMs);
  std::vector<WholePush> held = hold_->release();
  hold_.reset();
  for (WholePush& push : held) apply(std::move(push));
  // As if they came now: the process of one may have been replaced meanwhile.
  for (const auto& [from, commit] : std::exchange(commits_on_hold_, {})) on_commit(from, commit, now);
  if (turns_) go_on(now);
}

SnapshotRecord Container::progress() const {
  SnapshotRecord record;
  for (const auto& [worker, history] : histories_) {
    if (history.mark != PushMark{})
      record.marks[worker] = history.mark;  // Only who has pushed, so that all ps say the same.
    record.consumed_samples[worker] = history.consumed_samples;
  }
  record.updates = updates_;
  record.processes = members_.processes();
  return record;
}

}  // namespace distmnist
