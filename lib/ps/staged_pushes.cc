#include "lib/ps/staged_pushes.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "lib/math/mean.h"

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

bool StagedPushes::has_all(const Update& update) const {
  return std::ranges::all_of(update.pushes, [this](const PushId& id) { return has(id); });
}

void StagedPushes::make(const Update& update, VariableStore& store) {
  store.begin_update(update.rate_factor);
  WholePush& first = pushes_.at(update.pushes.front()).push;
  std::vector<std::span<const float>> others;
  for (std::size_t chunk = 0; chunk < store.chunks().size(); ++chunk) {
    others.clear();
    for (std::size_t i = 1; i < update.pushes.size(); ++i) {
      others.push_back(std::as_const(pushes_.at(update.pushes[i]).push.gradients[chunk]).floats());
    }
    const std::span<float> mean = first.gradients[chunk].floats();
    mean_into_first(mean, others);
    store.apply(chunk, mean, mean);
  }
  for (const PushId& id : update.pushes) pushes_.erase(id);
}

}  // namespace distmnist
