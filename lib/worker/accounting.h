// Accounting: the outcome of a worker's pushes and where its time went, for metrics.csv and the final log lines.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lib/ps/client/parameter_client.h"

namespace distmnist {

// Totals of one worker since its process started. The seconds cover its steps, from having the batch to having the next
// parameters. They do not include making batches, evaluating and saving.
struct Account {
  std::int64_t accepted = 0, dropped = 0;  // pushes; every step ends in one or the other
  std::int64_t not_finite = 0;             // dropped because the loss or a gradient was not finite; part of `dropped`
  // Staleness of all pushes, including dropped ones. The histogram counts pushes per bucket; its key is the bucket's
  // largest staleness. Buckets: 0, 1, 2, 3, 4, then up to the next power of two: 5-8, 9-16, 17-32, ...
  std::int64_t staleness_sum = 0, staleness_max = 0;
  std::map<std::int64_t, std::int64_t> staleness_histogram;
  double compute_s = 0;  // step time outside the exchange; includes the updates in local training
  double push_s = 0, wait_s = 0, pull_s = 0;
  double others_s = 0;                              // the part of wait_s spent waiting for other workers
  std::int64_t sent_bytes = 0, received_bytes = 0;  // all traffic, including start-up and checkpoints

  std::int64_t steps() const { return accepted + dropped; }
  double staleness_mean() const;  // 0 if there were no steps
  double step_s() const { return compute_s + push_s + wait_s + pull_s; }
};

// The largest staleness in the bucket of `staleness` (0 or more).
std::int64_t staleness_bucket(std::int64_t staleness);

class Accounting {
 public:
  // Call before and after each step, with the current time and the client's costs(). A step that begins a second time
  // was lost with its session and does not count.
  void begin_step(double now_s, const ExchangeCosts& costs);
  void end_step(const Turn& turn, double now_s, const ExchangeCosts& costs);
  // Records several steps without an exchange that were handed to the device since begin_step(). Work that the device
  // has not finished by then is counted in later steps that wait for it. Work that the device does while the host does
  // something else and does not wait is not counted.
  void end_resident_steps(std::int64_t steps, double now_s);

  const Account& totals() const { return totals_; }

 private:
  Account totals_;
  double begun_s_ = 0;
  ExchangeCosts begun_costs_;
};

// The speed of the whole run, over all workers.
struct RunRate {
  double steps_per_second = 0;        // global steps; 0 if unknown
  std::int64_t batches_per_step = 1;  // gradients per global step
};

// For example, with "(2 not finite)" after the dropped count if that is not 0:
// "pushes: 1667 accepted, 3 dropped; staleness mean 1.9, at most 7 (0: 12, 1: 600, 2: 800, 3: 200, 4: 50, 5-8: 8)"
std::string pushes_line(const Account& account);

// "time per step 35.1 ms: compute 30.2, push 0.4, wait 3.9 (for other workers 0.0), pull 0.6; sent 10.8 GB, received
// 10.8 GB"; without an exchange (local training), "time per step 30.2 ms: compute 30.2".
std::string time_line(const Account& account);

// What took most of the time: "bound by computation (86 % of the time)", "bound by waiting for other workers (54 % of
// the time)" or "bound by communication (61 % of the time in push, wait and pull): one process alone would do about 57
// steps/s where this run did 31".
std::string bound_line(const Account& account, const RunRate& rate);

// The lines above that apply: none if there were no steps, and no pushes line for local training without dropped steps.
std::vector<std::string> account_lines(const Account& account, const RunRate& rate);

}  // namespace distmnist
