#include "lib/ps/server/run_state.h"

#include <algorithm>
#include <utility>

#include "lib/base/rare_log.h"
#include "lib/ps/records/names.h"

namespace distmnist {

std::string Shard::describe(const WholePush& push) const {
  const auto piece =
      std::ranges::find_if(pieces, [&](const NamedRange& each) { return push.bad->at < each.range.end(); });
  return fmt::format("{} pushed a gradient with {} in {} at global_step {}", task_name(push.header.worker),
                     push.bad->text, piece == pieces.end() ? "nothing" : piece->name, push.header.step);
}

void RunState::apply(WholePush&& push) {
  History& history = shard->histories[push.header.worker];
  const PushMark mark = mark_of(push.header);
  if (mark == history.mark || mark.before(history.mark)) {  // Applied before; only the answer was lost.
    return send_parameters(push.route, push.header, push.header.dtype);
  }
  history.mark = mark;
  history.consumed_samples += push.header.samples;
  shard->published.forget();
  all_or_nothing([&] {
    shard->store.begin_update();
    for (std::size_t chunk = 0; chunk < push.gradients.size(); ++chunk) {
      Frame frame = std::move(push.gradients[chunk]);
      // The new parameters overwrite the gradient, and its memory goes back to the worker while the next chunk is
      // processed.
      const Numbers gradient{push.header.dtype, frame.bytes()};
      shard->store.apply(chunk, {&gradient, 1}, frame.bytes(), pool);
      actions.send(push.route, Message{values_header(push.header, MessageType::kParameters, chunk, gradient.dtype),
                                       std::move(frame)});
    }
  });
}

RunProgress RunState::progress() const {
  RunProgress out{shard->run_id, {}, members.done()};
  for (const auto& [worker, history] : shard->histories) out.consumed_samples[worker] = history.consumed_samples;
  return out;
}

void RunState::fail_run(const std::string& reason) {
  if (!failure) failure = reason;
}

// ---- Answers ----

Header RunState::reply_header(const Header& request, MessageType type) const {
  Header header = answer_to(request, type, ps.epoch);
  header.run = shard ? shard->run : 0;
  if (lacks_chief) header.flags |= kLacksChief;
  // A lease is told only to its own process, and only in this message.
  if (type == MessageType::kWelcome) header.lease = members.members().at(request.worker).session->lease;
  if (shard) {
    header.commit = shard->store.commit();
    header.step = shard->store.global_step();
  }
  return header;
}

Header RunState::values_header(const Header& request, MessageType type, std::size_t chunk, WireDtype dtype) const {
  Header header = reply_header(request, type);
  header.dtype = dtype;
  header.range_offset = shard->store.chunks().range(chunk).offset;
  header.range_size = shard->store.chunks().range(chunk).size;
  return header;
}

void RunState::reply(const Route& route, const Header& request, MessageType type, Frame record) {
  Header header = reply_header(request, type);
  header.dtype = record.size() > 0 ? WireDtype::kRecord : WireDtype::kNone;
  actions.send(route, Message{header, std::move(record)});
}

void RunState::send_parameters(const Route& route, const Header& request, WireDtype dtype) {
  for (std::size_t chunk = 0; chunk < shard->store.chunks().size(); ++chunk) {
    actions.send(route, Message{values_header(request, MessageType::kParameters, chunk, dtype),
                                shard->published.chunk(shard->store, dtype, chunk)});
  }
}

void RunState::send_slot(const Route& route, const Header& request, std::size_t slot) {
  for (std::size_t chunk = 0; chunk < shard->store.chunks().size(); ++chunk) {
    Header header = values_header(request, MessageType::kSnapshotData, chunk, WireDtype::kF32);
    header.slot = static_cast<std::uint8_t>(slot);
    if (slot == 0) {
      actions.send(route, Message{header, shard->published.chunk(shard->store, WireDtype::kF32, chunk)});
      continue;
    }
    const std::span<const float> values = std::as_const(shard->store).values(slot, chunk);
    Frame frame = Frame::allocate(values.size_bytes());
    std::ranges::copy(values, frame.floats().begin());
    actions.send(route, Message{header, std::move(frame)});
  }
}

void RunState::refuse(const Sender& to, const Header& request, ExitCode code, const std::string& reason) {
  actions.log_about_peer(to.address,
                         fmt::format("refused {} from {}: {}", task_name(request.worker), to.address, shown(reason)));
  reply(to.route, request, MessageType::kRefuse, encode(RefuseRecord{static_cast<std::int32_t>(code), reason}));
}

void RunState::cut_off(const Sender& from, const Header& header, const std::string& what) {
  actions.log_about_peer(from.address, fmt::format("dropped the connection of {} from {}, which sent {}",
                                                   task_name(header.worker), from.address, what));
  actions.cut(from.route);
}

// ---- The log ----

void RunState::log_event(Event event, std::uint32_t worker, const std::string& what) {
  const bool bad = event == Event::kLost || event == Event::kTakenOver;
  const std::string name = task_name(worker);
  actions.log_event(bad ? LogLevel::kWarning : LogLevel::kInfo, fmt::format("{} {}", name, static_cast<int>(event)),
                    fmt::format("{}{} {}", name, event == Event::kTakenOver ? ":" : "", what));
}

}  // namespace distmnist
