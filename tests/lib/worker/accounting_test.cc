#include "lib/worker/accounting.h"

#include "tests/support/catch.h"

using namespace distmnist;

namespace {

Turn turn(std::int64_t staleness, bool accepted = true) {
  return {.global_step = 1, .consumed_samples = 0, .accepted = accepted, .staleness = staleness};
}

// 10 steps of local training.
Account local() {
  Account account;
  account.accepted = 10;
  account.compute_s = 0.25;
  return account;
}

// 100 steps with 10 ms of computation and the given times for the exchange of each.
Account exchanging(double push_ms, double wait_ms, double others_ms, double pull_ms) {
  Account account;
  account.accepted = 97;
  account.dropped = 3;
  account.compute_s = 1;
  account.push_s = push_ms / 10;
  account.wait_s = wait_ms / 10;
  account.others_s = others_ms / 10;
  account.pull_s = pull_ms / 10;
  account.sent_bytes = 650'200'000;
  account.received_bytes = 10'840'000'000;
  return account;
}

}  // namespace

TEST_CASE("staleness has buckets of one up to 4, then up to each power of two") {
  for (std::int64_t narrow = 0; narrow <= 4; ++narrow) CHECK(staleness_bucket(narrow) == narrow);
  CHECK(staleness_bucket(5) == 8);
  CHECK(staleness_bucket(8) == 8);
  CHECK(staleness_bucket(9) == 16);
  CHECK(staleness_bucket(16) == 16);
  CHECK(staleness_bucket(17) == 32);
  CHECK(staleness_bucket(1000) == 1024);
}

TEST_CASE("steps that were made together are counted one by one, and their time is computation") {
  Accounting accounting;
  accounting.begin_step(10, {});
  accounting.end_resident_steps(40, 12);
  accounting.begin_step(20, {});
  accounting.end_resident_steps(2, 21);
  const Account& totals = accounting.totals();
  CHECK(totals.steps() == 42);
  CHECK(totals.compute_s == 3);
  CHECK(totals.step_s() == 3);
  CHECK(totals.staleness_histogram == std::map<std::int64_t, std::int64_t>{{0, 42}});
  CHECK(account_lines(totals, {}) ==
        std::vector<std::string>{"time per step 71.4 ms: compute 71.4", "bound by computation (100 % of the time)"});
}

TEST_CASE("pushes are counted by their decision, and all of them by their staleness") {
  Accounting accounting;
  for (const Turn& one : {turn(0), turn(2), turn(6, false), turn(8), turn(2)}) {
    accounting.begin_step(0, {});
    accounting.end_step(one, 1, {});
  }
  const Account& totals = accounting.totals();
  CHECK(totals.accepted == 4);
  CHECK(totals.dropped == 1);
  CHECK(totals.staleness_mean() == 3.6);
  CHECK(totals.staleness_max == 8);
  CHECK(totals.staleness_histogram == std::map<std::int64_t, std::int64_t>{{0, 1}, {2, 2}, {8, 2}});
}

TEST_CASE("the part of a step outside the exchange is computation, and time between steps is not counted") {
  Accounting accounting;
  const ExchangeCosts before{.push_s = 1, .wait_s = 2, .others_s = 0.5, .pull_s = 3, .sent_bytes = 7};
  const ExchangeCosts after{
      .push_s = 1.25, .wait_s = 2.5, .others_s = 0.625, .pull_s = 3.125, .sent_bytes = 100, .received_bytes = 200};
  accounting.begin_step(10, before);
  accounting.end_step(turn(0), 12, after);
  CHECK(accounting.totals().push_s == 0.25);
  CHECK(accounting.totals().wait_s == 0.5);
  CHECK(accounting.totals().others_s == 0.125);
  CHECK(accounting.totals().pull_s == 0.125);
  CHECK(accounting.totals().compute_s == 1.125);
  CHECK(accounting.totals().step_s() == 2);

  accounting.begin_step(20, after);
  accounting.end_step(turn(0), 21, after);
  CHECK(accounting.totals().compute_s == 2.125);
  CHECK(accounting.totals().push_s == 0.25);
  CHECK(accounting.totals().sent_bytes == 100);
  CHECK(accounting.totals().received_bytes == 200);
}

TEST_CASE("a step that was lost with its session is not counted") {
  Accounting accounting;
  accounting.begin_step(1, {});
  accounting.begin_step(50, {.push_s = 4});
  accounting.end_step(turn(0), 51, {.push_s = 4});
  CHECK(accounting.totals().steps() == 1);
  CHECK(accounting.totals().step_s() == 1);
  CHECK(accounting.totals().push_s == 0);
}

TEST_CASE("an impossible staleness is limited to the range of the sums") {
  Accounting accounting;
  for (const std::int64_t staleness : {std::int64_t{-5}, INT64_MAX, INT64_MAX}) {
    accounting.begin_step(0, {});
    accounting.end_step(turn(staleness), 1, {});
  }
  CHECK(accounting.totals().staleness_mean() > 0);
  CHECK(accounting.totals().staleness_histogram.at(0) == 1);
}

TEST_CASE("the line of pushes shows decisions and staleness") {
  Account account;
  account.accepted = 1667;
  account.dropped = 3;
  account.staleness_sum = 3173;
  account.staleness_max = 7;
  account.staleness_histogram = {{0, 12}, {1, 600}, {2, 800}, {3, 200}, {4, 50}, {8, 8}};
  CHECK(pushes_line(account) ==
        "pushes: 1667 accepted, 3 dropped; staleness mean 1.9, at most 7 (0: 12, 1: 600, 2: 800, 3: 200, 4: 50, 5-8: "
        "8)");
}

TEST_CASE("the line of time shows the mean step, with more digits for short steps") {
  CHECK(time_line(exchanging(0.4, 3.9, 1.2, 0.6)) ==
        "time per step 14.9 ms: compute 10.0, push 0.4, wait 3.9 (for other workers 1.2), pull 0.6; sent 650.2 MB, "
        "received 10.8 GB");
  CHECK(time_line(local()) == "time per step 25.0 ms: compute 25.0");
  Account quick = exchanging(0.1, 0, 0, 0);
  quick.compute_s = 0.025;
  quick.sent_bytes = 900;
  CHECK(time_line(quick) ==
        "time per step 0.350 ms: compute 0.250, push 0.100, wait 0.000 (for other workers 0.000), pull 0.000; sent 0.9 "
        "kB, received 10.8 GB");
}

TEST_CASE("the largest part of the time determines what the run was bound by") {
  const RunRate rate{31, 1};
  CHECK(bound_line(local(), rate) == "bound by computation (100 % of the time)");
  CHECK(bound_line(exchanging(1, 3, 0, 2), rate) == "bound by computation (62 % of the time)");
  CHECK(bound_line(exchanging(2, 15, 12, 3), rate) == "bound by waiting for other workers (40 % of the time)");
  CHECK(bound_line(exchanging(2, 15, 12, 15), {}) ==
        "bound by communication (48 % of the time in push, wait and pull)");
}

TEST_CASE(
    "if a run was bound by communication, one process alone is compared with all workers together if it would be "
    "faster") {
  const Account account = exchanging(2, 10, 0, 8);
  CHECK(bound_line(account, {56.4, 1}) ==
        "bound by communication (67 % of the time in push, wait and pull): one process alone would do about 100 "
        "steps/s where this run did 56");
  // A synchronous step takes several batches, each with as much work as a step of one process.
  CHECK(bound_line(account, {7.5, 3}) ==
        "bound by communication (67 % of the time in push, wait and pull): one process alone would do about 100 "
        "batches/s where this run did 22 (7.5 steps/s of 3 batches)");
  // Nothing is said where the run was as fast.
  CHECK(bound_line(account, {101, 1}) == "bound by communication (67 % of the time in push, wait and pull)");
}

TEST_CASE("a wait for other workers that is longer than the whole wait is not counted twice") {
  CHECK(bound_line(exchanging(0, 30, 35, 0), {}) == "bound by waiting for other workers (75 % of the time)");
}

TEST_CASE("only lines that apply are printed") {
  CHECK(account_lines({}, {}).empty());
  CHECK(account_lines(local(), {40, 1}) == std::vector<std::string>{time_line(local()), bound_line(local(), {40, 1})});
  const Account account = exchanging(2, 10, 0, 8);
  CHECK(account_lines(account, {50, 1}) ==
        std::vector<std::string>{pushes_line(account), time_line(account), bound_line(account, {50, 1})});
}

TEST_CASE("pushes that were dropped because they are not finite are counted, and named if there are any") {
  Accounting accounting;
  Turn bad = turn(0, false);
  bad.finite = false;
  for (const Turn& each : {turn(0), turn(9, false), bad}) {
    accounting.begin_step(0, {});
    accounting.end_step(each, 1, {});
  }
  CHECK(accounting.totals().not_finite == 1);
  const std::string line =
      "pushes: 1 accepted, 2 dropped (1 not finite); staleness mean 3.0, at most 9 (0: 2, 9-16: 1)";
  CHECK(pushes_line(accounting.totals()) == line);
  CHECK(account_lines(accounting.totals(), {}).front() == line);  // also without an exchange
}
