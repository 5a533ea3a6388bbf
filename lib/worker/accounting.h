// Accounting: what became of a worker's pushes and where its time went, for metrics.csv and for the lines at the end.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lib/ps/client/parameter_client.h"

namespace distmnist {

// Totals of one worker since its process started. Seconds are those of its steps: from the batch at hand to the next
// parameters; making batches, evaluating and saving are in none of them.
struct Account {
  std::int64_t accepted = 0, dropped = 0;  // pushes: a step ends in one of them
  std::int64_t not_finite = 0;             // of those dropped: because a number of them or their loss was not finite
  // Staleness of all pushes, dropped ones too. The histogram counts pushes by bucket, named by its largest staleness:
  // 0, 1, 2, 3, 4, then to the next power of two: 5-8, 9-16, 17-32, ...
  std::int64_t staleness_sum = 0, staleness_max = 0;
  std::map<std::int64_t, std::int64_t> staleness_histogram;
  double compute_s = 0;  // what of the steps was no exchange; in local training the updates too
  double push_s = 0, wait_s = 0, pull_s = 0;
  double others_s = 0;                              // the part of wait_s that was for other workers
  std::int64_t sent_bytes = 0, received_bytes = 0;  // of everything: the start and checkpoints too

  std::int64_t steps() const { return accepted + dropped; }
  double staleness_mean() const;  // 0 without steps
  double step_s() const { return compute_s + push_s + wait_s + pull_s; }
};

// The largest staleness of the bucket that `staleness` (0 or more) is in.
std::int64_t staleness_bucket(std::int64_t staleness);

class Accounting {
 public:
  // Around each step, with the time and the client's costs() then. A step that is begun again was lost with its
  // session: it counts for nothing.
  void begin_step(double now_s, const ExchangeCosts& costs);
  void end_step(const Turn& turn, double now_s, const ExchangeCosts& costs);
  // Several steps without an exchange, handed to the device since begin_step(). What it still had to compute then is in
  // the steps that are waited for later; what it computed while nothing waited for it and the host did something else
  // is in none.
  void end_resident_steps(std::int64_t steps, double now_s);

  const Account& totals() const { return totals_; }

 private:
  Account totals_;
  double begun_s_ = 0;
  ExchangeCosts begun_costs_;
};

// How fast the whole run was, all workers together.
struct RunRate {
  double steps_per_second = 0;        // global steps; 0: not known
  std::int64_t batches_per_step = 1;  // gradients to a global step
};

// With "(2 not finite)" after the dropped ones where there are such:
// "pushes: 1667 accepted, 3 dropped; staleness mean 1.9, at most 7 (0: 12, 1: 600, 2: 800, 3: 200, 4: 50, 5-8: 8)"
std::string pushes_line(const Account& account);

// "time per step 35.1 ms: compute 30.2, push 0.4, wait 3.9 (for other workers 0.0), pull 0.6; sent 10.8 GB, received
// 10.8 GB"; without an exchange (local training) "time per step 30.2 ms: compute 30.2".
std::string time_line(const Account& account);

// What took the largest part of the time: "bound by computation (86 % of the time)", "bound by waiting for other
// workers (54 % of the time)" or "bound by communication (61 % of the time in push, wait and pull): one process alone
// would do about 57 steps/s where this run did 31".
std::string bound_line(const Account& account, const RunRate& rate);

// The lines above that apply; none without steps, and none about pushes in local training that dropped none.
std::vector<std::string> account_lines(const Account& account, const RunRate& rate);

}  // namespace distmnist
