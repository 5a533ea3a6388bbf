#include "lib/ps/server/coordinator.h"

#include "tests/support/catch.h"
#include "tests/support/coordinator_script.h"

namespace distmnist {

TEST_CASE("the strategy determines the rules") {
  Strategy strategy;
  strategy.train_steps = 10;
  strategy.replicas_to_aggregate = 2;
  const auto first_push = [&] {
    CoordinatorScript script(make_coordinator(strategy, 2, 0, 1000));
    script.coordinator->arrive(0);
    return script.push(0);
  };
  CHECK(first_push() == "update 0");
  strategy.sync = true;
  CHECK(first_push().empty());  // waits for a second push
}

TEST_CASE("ps 0 decides unless it is alone in an asynchronous run where staleness does not matter") {
  CHECK_FALSE(Strategy{}.ordered(1));
  CHECK(Strategy{}.ordered(2));
  Strategy strategy;
  strategy.warmup_steps = 10;
  CHECK_FALSE(strategy.ordered(1));
  strategy.sync = true;
  CHECK(strategy.ordered(1));
  strategy = {};
  strategy.staleness = StalenessPolicy::kScale;
  CHECK(strategy.ordered(1));
  strategy = {};
  strategy.max_staleness = 0;
  CHECK(strategy.ordered(1));
}

}  // namespace distmnist
