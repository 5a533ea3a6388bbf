#include "tools/replication_flags.h"

#include "lib/base/error.h"

namespace distmnist {
namespace {

void forbid(bool given, const char* flag, const char* why) {
  if (given) fail(ExitCode::kUsage, "--{} {}", flag, why);
}

}  // namespace

void check_replication(const Flags& flags) {
  const ReplicationFlags& given = flags.replication;
  for (const auto& [name, value] : {std::pair{"num_workers", given.num_workers}, {"num_ps", given.num_ps}}) {
    if (value > 1 && !flags.cluster.job_name.empty()) {
      fail(ExitCode::kUsage, "--{}={} is for local runs; with --job_name the cluster is described by its hosts", name,
           value);
    }
  }
  forbid(given.warmup_steps > 0 && given.warmup_epochs > 0, "warmup_epochs",
         "and --warmup_steps say the same; give only one");
  if (given.sync()) {
    const char* const why = "is for asynchronous runs; leave out either this flag or --sync_replicas";
    forbid(given.staleness.policy != StalenessPolicy::kKeep, "staleness", why);
    forbid(given.max_staleness != kUnboundedStaleness, "max_staleness", why);
    forbid(given.warmup_steps > 0, "warmup_steps", why);
    forbid(given.warmup_epochs > 0, "warmup_epochs", why);
  } else {
    const char* const why = "is for synchronous runs; give --sync_replicas as well";
    forbid(given.replicas_to_aggregate > 0, "replicas_to_aggregate", why);
    forbid(given.on_lost_worker.has_value(), "on_lost_worker", why);
  }
}

Strategy strategy_of(const Flags& flags, std::uint32_t num_workers, std::int64_t warmup_steps) {
  const ReplicationFlags& given = flags.replication;
  Strategy strategy;
  strategy.sync = given.sync();
  strategy.replicas_to_aggregate =
      given.replicas_to_aggregate > 0 ? static_cast<std::uint32_t>(given.replicas_to_aggregate) : num_workers;
  strategy.on_lost_worker = given.on_lost_worker.value_or(OnLostWorker::kShrink);
  strategy.staleness = given.staleness.policy;
  strategy.drop_above = given.staleness.drop_above;
  strategy.max_staleness = given.max_staleness;
  strategy.warmup_steps = warmup_steps;
  strategy.train_steps = flags.training.train_steps;
  strategy.on_nan = given.on_nan;
  return strategy;
}

}  // namespace distmnist
