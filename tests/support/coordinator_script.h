// CoordinatorScript drives a Coordinator alone, in one thread and without messages: it returns the updates that a push
// causes, and whether a worker may continue. Use it for the rules of ps 0 alone, and JobScript for the same rules with
// requests and answers. The script counts the steps itself.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "lib/ps/server/coordinator.h"

namespace distmnist {

class CoordinatorScript {
 public:
  explicit CoordinatorScript(std::unique_ptr<Coordinator> coordinator) : coordinator(std::move(coordinator)) {}

  // A push of a worker from the parameters of step `from`; without it, from the newest ones. The result is "" if the
  // push only counts, "dropped 2" with its staleness, "update 0 1" with the workers whose pushes make an update, and
  // " * 0.5" with the factor of the learning rate.
  std::string push(std::uint32_t worker, std::optional<std::int64_t> from = std::nullopt) {
    const Verdict verdict = coordinator->push({worker, {10, ++sequence_}}, from.value_or(step), step);
    if (!verdict.accepted) return fmt::format("dropped {}", verdict.staleness);
    const std::string made = update();
    return verdict.staleness == 0 ? made : made + fmt::format(", stale by {}", verdict.staleness);
  }
  std::string update() {
    std::string out;
    while (const auto update = coordinator->next_update()) {
      ++step;
      out += "update";
      for (const PushId& id : update->pushes) out += fmt::format(" {}", id.worker);
      if (update->rate_factor != 1) out += fmt::format(" * {}", update->rate_factor);
    }
    return out;
  }
  bool take(std::uint32_t worker) { return coordinator->take_token(worker, step); }
  // Warnings; a failure is the last one.
  std::vector<std::string> tick(TimeMs now) {
    CoordinatorTick tick = coordinator->tick(now);
    if (tick.failure) tick.warnings.push_back("failure: " + *tick.failure);
    return tick.warnings;
  }

  std::unique_ptr<Coordinator> coordinator;
  std::int64_t step = 0;

 private:
  std::uint64_t sequence_ = 0;
};

}  // namespace distmnist
