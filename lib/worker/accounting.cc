#include "lib/worker/accounting.h"

#include <algorithm>
#include <bit>

#include <fmt/core.h>

namespace distmnist {
namespace {

constexpr std::int64_t kLastNarrowBucket = 4;
constexpr std::int64_t kLargestStaleness = std::int64_t{1} << 40;  // a ps may send any value

bool has_exchange(const Account& account) {
  return account.sent_bytes > 0;
}

std::string bytes_text(std::int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value < 1e6) return fmt::format("{:.1f} kB", value / 1e3);
  return value < 1e9 ? fmt::format("{:.1f} MB", value / 1e6) : fmt::format("{:.1f} GB", value / 1e9);
}

std::string rate_text(double per_second) {
  return fmt::format("{:.{}f}", per_second, per_second < 10 ? 1 : 0);
}

std::string histogram_text(const Account& account) {
  std::string out;
  for (const auto& [last, count] : account.staleness_histogram) {
    const std::string bucket =
        last <= kLastNarrowBucket ? std::to_string(last) : fmt::format("{}-{}", last / 2 + 1, last);
    out += fmt::format("{}{}: {}", out.empty() ? "" : ", ", bucket, count);
  }
  return out;
}

// Compares the batch rate this worker would reach alone with the rate of the run; empty if alone it would not be
// faster. Its compute time is that of the run, where other workers on the same host share the cores. Alone it would
// compute faster, so the figure is a lower bound. (Alone it would also apply the updates, which take a small part of a
// step's time.)
std::string comparison_text(const Account& account, const RunRate& rate) {
  if (!(rate.steps_per_second > 0 && account.compute_s > 0)) return {};
  const double alone = static_cast<double>(account.steps()) / account.compute_s;
  if (alone <= rate.steps_per_second * static_cast<double>(rate.batches_per_step)) return {};
  if (rate.batches_per_step == 1) {
    return fmt::format(": one process alone would do about {} steps/s where this run did {}", rate_text(alone),
                       rate_text(rate.steps_per_second));
  }
  const double batches_per_second = rate.steps_per_second * static_cast<double>(rate.batches_per_step);
  return fmt::format(": one process alone would do about {} batches/s where this run did {} ({} steps/s of {} batches)",
                     rate_text(alone), rate_text(batches_per_second), rate_text(rate.steps_per_second),
                     rate.batches_per_step);
}

}  // namespace

double Account::staleness_mean() const {
  return steps() == 0 ? 0 : static_cast<double>(staleness_sum) / static_cast<double>(steps());
}

std::int64_t staleness_bucket(std::int64_t staleness) {
  if (staleness <= kLastNarrowBucket) return staleness;
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(staleness)));
}

void Accounting::begin_step(double now_s, const ExchangeCosts& costs) {
  begun_s_ = now_s;
  begun_costs_ = costs;
}

void Accounting::end_step(const Turn& turn, double now_s, const ExchangeCosts& costs) {
  ++(turn.accepted ? totals_.accepted : totals_.dropped);
  if (!turn.finite) ++totals_.not_finite;
  const std::int64_t staleness = std::clamp<std::int64_t>(turn.staleness, 0, kLargestStaleness);
  totals_.staleness_sum += staleness;
  totals_.staleness_max = std::max(totals_.staleness_max, staleness);
  ++totals_.staleness_histogram[staleness_bucket(staleness)];

  const double push_s = costs.push_s - begun_costs_.push_s;
  const double wait_s = costs.wait_s - begun_costs_.wait_s;
  const double pull_s = costs.pull_s - begun_costs_.pull_s;
  totals_.push_s += push_s;
  totals_.wait_s += wait_s;
  totals_.pull_s += pull_s;
  totals_.others_s += costs.others_s - begun_costs_.others_s;
  totals_.compute_s += now_s - begun_s_ - push_s - wait_s - pull_s;
  totals_.sent_bytes = costs.sent_bytes;
  totals_.received_bytes = costs.received_bytes;
}

void Accounting::end_resident_steps(std::int64_t steps, double now_s) {
  totals_.accepted += steps;
  totals_.staleness_histogram[0] += steps;
  totals_.compute_s += now_s - begun_s_;
}

std::string pushes_line(const Account& account) {
  const std::string not_finite = account.not_finite == 0 ? "" : fmt::format(" ({} not finite)", account.not_finite);
  return fmt::format("pushes: {} accepted, {} dropped{}; staleness mean {:.1f}, at most {} ({})", account.accepted,
                     account.dropped, not_finite, account.staleness_mean(), account.staleness_max,
                     histogram_text(account));
}

std::string time_line(const Account& account) {
  const double step_ms = 1e3 * account.step_s() / static_cast<double>(account.steps());
  const int decimals = step_ms < 10 ? 3 : 1;  // Small models take fractions of a millisecond.
  const auto ms = [&](double seconds) {
    return fmt::format("{:.{}f}", 1e3 * seconds / static_cast<double>(account.steps()), decimals);
  };
  std::string compute = fmt::format("time per step {} ms: compute {}", ms(account.step_s()), ms(account.compute_s));
  if (!has_exchange(account)) return compute;
  return fmt::format("{}, push {}, wait {} (for other workers {}), pull {}; sent {}, received {}", compute,
                     ms(account.push_s), ms(account.wait_s), ms(account.others_s), ms(account.pull_s),
                     bytes_text(account.sent_bytes), bytes_text(account.received_bytes));
}

std::string bound_line(const Account& account, const RunRate& rate) {
  const double others_s = std::min(account.others_s, account.wait_s);  // Two different clocks measure them.
  const double communication_s = account.push_s + account.wait_s + account.pull_s - others_s;
  const auto percent = [&](double seconds) { return 100 * seconds / account.step_s(); };
  if (account.compute_s >= std::max(communication_s, others_s)) {
    return fmt::format("bound by computation ({:.0f} % of the time)", percent(account.compute_s));
  }
  if (others_s >= communication_s) {
    return fmt::format("bound by waiting for other workers ({:.0f} % of the time)", percent(others_s));
  }
  return fmt::format("bound by communication ({:.0f} % of the time in push, wait and pull){}", percent(communication_s),
                     comparison_text(account, rate));
}

std::vector<std::string> account_lines(const Account& account, const RunRate& rate) {
  if (account.steps() == 0) return {};
  std::vector<std::string> lines = {time_line(account), bound_line(account, rate)};
  if (has_exchange(account) || account.not_finite > 0) lines.insert(lines.begin(), pushes_line(account));
  return lines;
}

}  // namespace distmnist
