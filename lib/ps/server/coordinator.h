// Coordinator: the decisions of ps 0 for a whole run: which pushes are accepted, which of them form an update, and when
// a worker may compute its next batch. A pure state machine. docs/semantics.md has the rules.
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
  bool finite = true;          // false: not accepted, because one of its numbers or its loss is not finite
};

// What must be logged or done because time has passed.
struct CoordinatorTick {
  std::vector<std::string> warnings;
  std::optional<std::string> failure;  // the reason why the run ends
  bool eased = false;                  // a worker counts as missing from now on, and what was reserved for it is free
};

class Coordinator {
 public:
  virtual ~Coordinator() = default;

  // arrive: a process of the worker takes part from now on. depart: it no longer does, because it is lost, gone, done
  // or replaced; what it held is returned. Calling either one again has no effect.
  virtual void arrive(std::uint32_t worker) = 0;
  virtual void depart(std::uint32_t worker, TimeMs now) = 0;
  // The worker, which has departed, has done all of its work: no other worker waits for it, whatever the strategy says
  // about lost workers, unless a new process of it arrives.
  virtual void retire(std::uint32_t worker) = 0;

  // `id` was computed from the parameters of `step`; global_step is now `global_step`.
  virtual Verdict push(const PushId& id, std::int64_t step, std::int64_t global_step) = 0;
  // The same for a push that does not count, whatever its step, because it is not finite. The worker's next batch takes
  // its place.
  virtual Verdict drop(const PushId& id, std::int64_t step, std::int64_t global_step) = 0;
  // The update to make now, if there is one (its commit is left at 0). Afterwards global_step is one higher.
  virtual std::optional<Update> next_update() = 0;
  // Returns true if the worker may compute a batch on the current parameters. It then holds a token for that batch
  // until its push, its departure or the next update. If it asks again in the meantime, it gets no second token.
  virtual bool take_token(std::uint32_t worker, std::int64_t global_step) = 0;

  // What workers without a token wait for: "worker:2 (1 of 3 gradients for step 17 are there)".
  virtual std::string waiting_for(std::int64_t global_step) const = 0;
  virtual CoordinatorTick tick(TimeMs now) = 0;
};

// `first_worker_ms`: how long to wait for a worker that has never connected.
std::unique_ptr<Coordinator> make_coordinator(const Strategy& strategy, std::uint32_t num_workers, TimeMs now,
                                              TimeMs first_worker_ms);

}  // namespace distmnist
