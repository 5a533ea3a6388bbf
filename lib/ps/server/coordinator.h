// Coordinator: what ps 0 decides for a whole run: which pushes are taken, which of them make an update, and when a
// worker may compute its next batch. A pure state machine; docs/semantics.md has the rules.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/time_ms.h"
#include "lib/ps/records/control.h"
#include "lib/ps/records/strategy.h"

namespace distmnist {

struct Verdict {
  bool accepted = true;
  std::int64_t staleness = 0;  // updates between the push's parameters and the verdict
  bool finite = true;          // false: not accepted, because a number of it or its loss is not finite
};

// What has to be said or done because time passed.
struct CoordinatorTick {
  std::vector<std::string> warnings;
  std::optional<std::string> failure;  // the run ends with it
  bool eased = false;                  // somebody is missed from now on, and what was kept for him is free
};

class Coordinator {
 public:
  virtual ~Coordinator() = default;

  // A worker's process takes part from now on; or it takes part no more: lost, gone, done, or replaced. What the
  // process held goes back. Neither changes anything where it is so already.
  virtual void arrive(std::uint32_t worker) = 0;
  virtual void depart(std::uint32_t worker, TimeMs now) = 0;

  // `id` was computed from the parameters of `step`; global_step is now `global_step`.
  virtual Verdict push(const PushId& id, std::int64_t step, std::int64_t global_step) = 0;
  // The same of a push that does not count, whatever its step, for it is not finite. Its worker's next batch takes its
  // place.
  virtual Verdict drop(const PushId& id, std::int64_t step, std::int64_t global_step) = 0;
  // The update to make now, if there is one (its commit is left at 0). global_step is one more afterwards.
  virtual std::optional<Update> next_update() = 0;
  // True where the worker may compute a batch on the parameters as they are. It then holds a token for that, until its
  // push, its departure or the next update; asked again meanwhile it takes no second one.
  virtual bool take_token(std::uint32_t worker, std::int64_t global_step) = 0;

  // For what workers without a token wait: "worker:2 (1 of 3 gradients for step 17 are there)".
  virtual std::string waiting_for(std::int64_t global_step) const = 0;
  virtual CoordinatorTick tick(TimeMs now) = 0;
};

// `first_worker_ms`: how long a worker that has never come is waited for.
std::unique_ptr<Coordinator> make_coordinator(const Strategy& strategy, std::uint32_t num_workers, TimeMs now,
                                              TimeMs first_worker_ms);

}  // namespace distmnist
