#include "lib/ps/server/staged_pushes.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace distmnist {

void StagedPushes::stage(WholePush&& push) {
  const PushId id = id_of(push.header);
  const std::int64_t step = push.header.step;
  const auto of_worker = [&](const auto& entry) { return entry.first.worker == id.worker; };
  std::erase_if(pushes_, [&](const auto& entry) {
    return of_worker(entry) && !entry.second.accepted && entry.second.push.header.step != step;
  });
  if (static_cast<std::size_t>(std::ranges::count_if(pushes_, of_worker)) >= max_per_worker_) {
    const auto oldest =
        std::ranges::find_if(pushes_, [&](const auto& entry) { return of_worker(entry) && !entry.second.accepted; });
    if (oldest == pushes_.end()) return;
    pushes_.erase(oldest);
  }
  pushes_.try_emplace(id, Staged{std::move(push)});
}

void StagedPushes::discard(const PushId& id) {
  const auto at = pushes_.find(id);
  if (at != pushes_.end() && !at->second.accepted) pushes_.erase(at);
}

bool StagedPushes::has_all(const Update& update) const {
  return std::ranges::all_of(update.pushes, [this](const PushId& id) { return has(id); });
}

const WholePush* StagedPushes::bad_one_of(const Update& update) const {
  const auto bad = std::ranges::find_if(update.pushes, [this](const PushId& id) { return at(id).bad.has_value(); });
  return bad == update.pushes.end() ? nullptr : &at(*bad);
}

WholePush StagedPushes::make(const Update& update, VariableStore& store, ThreadPool* pool) {
  store.begin_update(update.rate_factor);
  std::vector<WholePush*> pushes;
  for (const PushId& id : update.pushes) pushes.push_back(&pushes_.at(id).push);
  std::vector<Numbers> gradients(pushes.size());
  for (std::size_t chunk = 0; chunk < store.chunks().size(); ++chunk) {
    for (std::size_t i = 0; i < pushes.size(); ++i) {
      gradients[i] = {pushes[i]->header.dtype, std::as_const(pushes[i]->gradients[chunk]).bytes()};
    }
    store.apply(chunk, gradients, pushes.front()->gradients[chunk].bytes(), pool);
  }
  WholePush first = std::move(*pushes.front());
  for (const PushId& id : update.pushes) pushes_.erase(id);
  return first;
}

}  // namespace distmnist
