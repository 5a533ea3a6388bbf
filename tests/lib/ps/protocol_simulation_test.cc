// Simulates whole asynchronous jobs from many seeds. Whatever the network does, every ps applies a push at most once
// and an answered push exactly once, and the job ends.
#include "tests/support/simulation.h"

namespace distmnist::trace {

TEST_CASE("on a good network every push is applied once and every snapshot is consistent") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Plan plan{seed, 1 + static_cast<std::uint32_t>(seed % 2), 3, {0, 0, 0, 50, 0}};
    CHECK(run_and_check(plan).whole_snapshots == kPushes / plan.snapshot_every);
  }
}

TEST_CASE("on a bad network every answered push is applied exactly once and every job ends") {
  int whole_snapshots = 0;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    const auto num_ps = 1 + static_cast<std::uint32_t>(seed % 2),
               num_workers = 2 + static_cast<std::uint32_t>(seed / 2 % 2);
    whole_snapshots += run_and_check({seed, num_ps, num_workers, {}}).whole_snapshots;
  }
  CHECK(whole_snapshots > 500);
}

TEST_CASE("on a network that loses every fifth message jobs still end") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) run_and_check({seed, 2, 2, {0.1, 0.1, 0.01, 50, 20'000}});
}

TEST_CASE("a restarted ps gets a new model, and the job ends with it") {
  int ps_restarts = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Plan plan{seed, 1 + static_cast<std::uint32_t>(seed % 2), 3, {}};
    plan.ps_restarts = true;
    ps_restarts += run_and_check(plan).ps_restarts;
  }
  CHECK(ps_restarts > 200);
}

TEST_CASE("with processes that die and restart, no push is applied twice") {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    run_and_check({seed, 1 + static_cast<std::uint32_t>(seed % 2), 3, {}, true});
  }
}

}  // namespace distmnist::trace
