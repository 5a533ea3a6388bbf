#include "lib/ps/server/snapshot_taking.h"

#include <algorithm>
#include <utility>

namespace distmnist {

void SnapshotTaking::on_question(const Sender& from, Message&& message, TimeMs now) {
  if (!holds() && now < rest_until_ms_) {
    put_off_.emplace(from, std::move(message));
  } else if (message.header.type == MessageType::kSnapshotTake) {
    on_take(from, message, now);
  } else {
    on_begin(from, message.header, now);
  }
}

void SnapshotTaking::tick(TimeMs now) {
  if (put_off_ && now >= rest_until_ms_) {
    auto [from, message] = *std::exchange(put_off_, std::nullopt);
    const Header& header = message.header;
    if (run_.members.is_current(header)) on_question(from, std::move(message), now);
  }
  if (holds() && now - *held_since_ms_ >= kSnapshotHoldMs) release(now);
}

void SnapshotTaking::on_begin(const Sender& from, const Header& header, TimeMs now) {
  if (run_.ps.index != 0) return run_.cut_off(from, header, "the start of a snapshot, which only ps:0 takes");
  held_since_ms_ = held_since_ms_.value_or(now);
  run_.reply(from.route, header, MessageType::kSnapshotPoint, encode(UpdatesRecord{ordered_.updates()}));
}

void SnapshotTaking::on_take(const Sender& from, const Message& message, TimeMs now) {
  const auto record = decode<UpdatesRecord>(message.payload.bytes());
  if (!record) return run_.cut_off(from, message.header, "a snapshot request that cannot be read");
  if (run_.ps.index != 0 && !ordered_.make_updates(from, message.header, record->updates)) return;
  send_snapshot(from.route, message.header);
  rest_until_ms_ = now + kSnapshotRestMs;
  if (holds()) release(now);
}

void SnapshotTaking::send_snapshot(const Route& route, const Header& request) {
  const VariableStore& store = run_.shard->store;
  for (std::size_t slot = 0; slot <= store.num_slots(); ++slot) run_.send_slot(route, request, slot);
  Header end = run_.reply_header(request, MessageType::kSnapshotEnd);
  end.dtype = WireDtype::kRecord;
  end.slot = static_cast<std::uint8_t>(store.num_slots());  // So that a lost part is noticed.
  run_.actions.send(route, Message{end, encode(SnapshotRecord{run_.progress()})});
}

void SnapshotTaking::release(TimeMs now) {
  rest_until_ms_ = now + std::max(now - *held_since_ms_, kSnapshotRestMs);
  held_since_ms_.reset();
  ordered_.release_commits(now);
}

}  // namespace distmnist
