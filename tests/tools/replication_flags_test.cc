#include "tools/replication_flags.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

using namespace distmnist;

namespace {

Strategy strategy(std::vector<const char*> arguments, std::uint32_t num_workers = 4) {
  arguments.insert(arguments.begin(), "distmnist");
  const Flags flags = parse_flags(static_cast<int>(arguments.size()), arguments.data()).flags;
  return strategy_of(flags, num_workers, flags.replication.warmup_steps);
}

}  // namespace

TEST_CASE("by default a run is asynchronous, and every gradient counts") {
  const Strategy defaults = strategy({});
  CHECK_FALSE(defaults.sync);
  CHECK_FALSE(defaults.ordered(1));
  CHECK(defaults.staleness == StalenessPolicy::kKeep);
  CHECK(defaults.max_staleness == kUnboundedStaleness);
  CHECK(defaults.on_nan == OnNan::kFail);
  CHECK(defaults.train_steps == 5000);
}

TEST_CASE("a synchronous step takes one gradient per worker, or the given number") {
  CHECK(strategy({"--sync_replicas"}).sync);
  CHECK(strategy({"--sync_replicas"}).replicas_to_aggregate == 4);
  CHECK(strategy({"--sync_replicas", "--replicas_to_aggregate=3"}).replicas_to_aggregate == 3);
  CHECK_FALSE(strategy({"--nosync_replicas"}).sync);
}

TEST_CASE("a lost worker makes a synchronous step smaller by default") {
  CHECK(strategy({"--sync_replicas"}).on_lost_worker == OnLostWorker::kShrink);
  CHECK(strategy({"--sync_replicas", "--on_lost_worker=shrink"}).on_lost_worker == OnLostWorker::kShrink);
  CHECK(strategy({"--sync_replicas", "--on_lost_worker=wait"}).on_lost_worker == OnLostWorker::kWait);
  CHECK(strategy({"--sync_replicas", "--on_lost_worker=fail"}).on_lost_worker == OnLostWorker::kFail);
}

TEST_CASE("staleness rules are read") {
  CHECK(strategy({"--staleness=scale"}).staleness == StalenessPolicy::kScale);
  const Strategy dropping = strategy({"--staleness=drop:3", "--max_staleness=5", "--warmup_steps=20"});
  CHECK(dropping.staleness == StalenessPolicy::kDrop);
  CHECK(dropping.drop_above == 3);
  CHECK(dropping.max_staleness == 5);
  CHECK(dropping.warmup_steps == 20);
  CHECK(dropping.ordered(1));
  CHECK(strategy({"--max_staleness=0"}).ordered(1));
  CHECK(strategy({"--on_nan=skip"}).on_nan == OnNan::kSkip);
}

TEST_CASE("invalid or conflicting replication flags are refused by name") {
  const std::pair<std::vector<const char*>, const char*> cases[] = {
      {{"--staleness=drop"}, "--staleness=drop: "},
      {{"--staleness=drop:"}, "--staleness=drop:: "},
      {{"--staleness=drop:-1"}, "--staleness=drop:-1: "},
      {{"--staleness=drop:1x"}, "--staleness=drop:1x: "},
      {{"--on_lost_worker=ask", "--sync_replicas"}, "--on_lost_worker=ask: choose wait, shrink or fail"},
      {{"--on_lost_worker=wait"}, "--on_lost_worker is for synchronous runs"},
      {{"--replicas_to_aggregate=2"}, "--replicas_to_aggregate is for synchronous runs"},
      {{"--replicas_to_aggregate=-1", "--sync_replicas"}, "--replicas_to_aggregate=-1"},
      {{"--sync_replicas", "--staleness=scale"}, "--staleness is for asynchronous runs"},
      {{"--sync_replicas", "--max_staleness=1"}, "--max_staleness is for asynchronous runs"},
      {{"--sync_replicas", "--warmup_steps=1"}, "--warmup_steps is for asynchronous runs"},
      {{"--sync_replicas", "--warmup_epochs=1"}, "--warmup_epochs is for asynchronous runs"},
      {{"--warmup_steps=1", "--warmup_epochs=1"}, "--warmup_epochs and --warmup_steps"},
      {{"--warmup_steps=-1"}, "--warmup_steps=-1"},
      {{"--warmup_epochs=nan"}, "nan"},
      {{"--max_staleness=-2"}, "--max_staleness=-2"},
      {{"--num_workers=0"}, "--num_workers=0"},
      {{"--num_ps=257"}, "--num_ps=257"},
      {{"--num_workers=2", "--job_name=worker"}, "--num_workers=2 is for local runs"},
  };
  for (const auto& [arguments, says] : cases) {
    INFO(arguments.front() << " ... " << says);
    CHECK(fails_with(ExitCode::kUsage, says, [&] { strategy(arguments); }));
  }
}
