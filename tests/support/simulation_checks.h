// Conditions that must be true for everything that the worker processes of a SimulatedJob receive.
#pragma once

#include <span>

#include "lib/ps/client/worker_session.h"
#include "tests/support/simulated_job.h"

namespace distmnist::trace {

// The value that a ps has delivered, which must be the same everywhere in its shard.
inline float shard_value(std::size_t ps, std::span<const float> block) {
  const auto shard = block.subspan(ps * kShardFloats, kShardFloats);
  for (const float value : shard) REQUIRE(value == shard.front());
  return shard.front();
}

// Checks the parameters of a turn. If ps 0 decides, the other ps tasks must have made at least its update.
inline void check_parameters(const SimulatedJob& job, WorkerSession& session, std::span<const float> parameters) {
  const std::int64_t commit = session.exchange(0).commit();
  for (std::size_t ps = 0; ps < session.num_ps(); ++ps) {
    const float value = shard_value(ps, parameters);
    if (!job.plan.ordered()) continue;
    REQUIRE(session.exchange(ps).commit() >= commit);
    if (session.exchange(ps).commit() == commit) REQUIRE(value == parameters.front());
  }
}

// Counts an answered push. `position`: of this worker's data before the push. Returns the position after it.
inline std::int64_t check_push(SimulatedJob& job, std::uint32_t worker, WorkerSession& session,
                               std::span<const float> parameters, std::int64_t position) {
  const Plan& plan = job.plan;
  const Turn& turn = session.turn();
  Ledger& ledger = job.ledgers[session.run()];
  ++(turn.accepted ? ledger.accepted : ledger.dropped)[worker];
  const int accepted = ledger.accepted[worker], dropped = ledger.dropped[worker];
  if (plan.ordered()) {
    // Every batch advances the data position, whether it counts or not.
    REQUIRE(turn.consumed_samples == position + kBatchSamples);
    REQUIRE(turn.consumed_samples >= (accepted + dropped) * kBatchSamples);
  }
  check_parameters(job, session, parameters);
  // With several batches per step a push can be accepted and not yet be in the parameters.
  const bool applied = !plan.strategy.sync || plan.per_update() <= plan.num_workers;
  for (std::size_t ps = 0; ps < session.num_ps() && plan.countable(); ++ps) {
    const int count = counts_of(shard_value(ps, parameters), plan).at(worker);
    if (applied) REQUIRE(count >= accepted);
    REQUIRE(count <= ledger.begun[worker] - dropped);
  }
  return turn.consumed_samples;
}

// Checks that a snapshot has the same batches on all shards, and that they are those that it reports.
inline void check_snapshot(SimulatedJob& job, WorkerSession& session) {
  const Plan& plan = job.plan;
  const bool ordered = plan.ordered();
  ++job.snapshots;
  const std::optional<StoredModel> model = session.take_snapshot();
  if (!model) return;
  ++job.whole_snapshots;
  Ledger& ledger = job.ledgers[session.run()];
  for (std::size_t ps = 0; ps < session.num_ps(); ++ps) {
    const float value = shard_value(ps, model->parameters);
    REQUIRE(value == model->parameters.front());
    if (!plan.countable()) continue;
    const ConsumedSamples& consumed = session.exchange(ps).snapshot().progress.consumed_samples;
    for (const auto& [worker, count] : counts_of(value, plan)) {
      const int batches = consumed.contains(worker) ? static_cast<int>(consumed.at(worker) / kBatchSamples) : 0;
      if (!ordered) REQUIRE(batches == count);
      if (!ordered || ps != 0) continue;
      REQUIRE(batches >= count);  // ps 0 also counts dropped batches
      REQUIRE(batches <= count + ledger.begun[worker] - ledger.accepted[worker]);
    }
  }
}

}  // namespace distmnist::trace
