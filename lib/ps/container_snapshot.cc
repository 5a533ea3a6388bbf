// The part of Container that is about snapshots: all ps tasks stop at the same pushes.
#include <utility>

#include "lib/ps/container.h"

namespace distmnist {

void Container::on_snapshot_begin(const Route& route, const Header& header, TimeMs now) {
  if (!hold_) hold_.emplace(now);
  hold_->restart(now);
  reply(route, header, MessageType::kSnapshotVector, encode(progress()));
}

void Container::on_snapshot_take(const Route& route, const Message& message, TimeMs now) {
  auto record = decode<SnapshotRecord>(message.payload.bytes());
  if (!record) return;
  if (ordered()) {
    if (!make_updates(route, message.header, record->updates)) return;
    send_snapshot(route, message.header);
    if (hold_) release_hold(now);
    return;
  }
  std::erase_if(record->marks, [this](const auto& entry) { return entry.first >= ps_.num_workers; });
  if (!hold_) hold_.emplace(now);  // It was released meanwhile; what is applied by now is a whole step here, too.
  for (WholePush& push : hold_->set_target(route, message.header, std::move(record->marks))) apply(std::move(push));
  try_take(true, now);
}

void Container::try_take(bool whole_steps_only, TimeMs now) {
  if (!hold_->take()) return;
  for (const auto& [worker, mark] : hold_->take()->target) {
    if (whole_steps_only && histories_[worker].mark < mark) return;
  }
  send_snapshot(hold_->take()->route, hold_->take()->request);
  release_hold(now);
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
  std::vector<WholePush> held = hold_->release();
  hold_.reset();
  for (WholePush& push : held) apply(std::move(push));
  // As if they came now: the process of one may have been replaced meanwhile.
  for (const auto& [route, commit] : std::exchange(commits_on_hold_, {})) on_commit(route, commit, now);
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
  return record;
}

}  // namespace distmnist
