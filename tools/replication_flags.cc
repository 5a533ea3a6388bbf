#include "tools/replication_flags.h"

#include <charconv>
#include <string_view>

#include "lib/base/error.h"

namespace distmnist {
namespace {

constexpr int kMaxLocalTasks = 256;
constexpr std::string_view kDrop = "drop:";

struct StalenessRule {
  StalenessPolicy policy = StalenessPolicy::kKeep;
  std::int64_t drop_above = 0;
};

StalenessRule parse_staleness(const std::string& text) {
  if (text == "keep") return {};
  if (text == "scale") return {StalenessPolicy::kScale, 0};
  if (text.starts_with(kDrop)) {
    std::int64_t limit = -1;
    const char* const begin = text.data() + kDrop.size();
    const char* const end = text.data() + text.size();
    const auto [parsed_to, error] = std::from_chars(begin, end, limit);
    if (error == std::errc() && parsed_to == end && limit >= 0) return {StalenessPolicy::kDrop, limit};
  }
  fail(ExitCode::kUsage, "--staleness={}: choose keep, drop:K with a whole number K from 0 up, or scale", text);
}

OnLostWorker parse_on_lost_worker(const std::string& text) {
  if (text.empty() || text == "shrink") return OnLostWorker::kShrink;
  if (text == "wait") return OnLostWorker::kWait;
  if (text == "fail") return OnLostWorker::kFail;
  fail(ExitCode::kUsage, "--on_lost_worker={}: choose wait, shrink or fail", text);
}

void forbid(bool given, const char* flag, const char* why) {
  if (given) fail(ExitCode::kUsage, "--{} {}", flag, why);
}

}  // namespace

OnNan parse_on_nan(const std::string& text) {
  if (text == "fail") return OnNan::kFail;
  if (text == "skip") return OnNan::kSkip;
  fail(ExitCode::kUsage, "--on_nan={}: choose fail or skip", text);
}

void check_replication(const Flags& flags) {
  const StalenessRule staleness = parse_staleness(flags.staleness);
  parse_on_lost_worker(flags.on_lost_worker);
  parse_on_nan(flags.on_nan);
  for (const auto& [name, value] : {std::pair{"num_workers", flags.num_workers}, {"num_ps", flags.num_ps}}) {
    if (value < 1 || value > kMaxLocalTasks) {
      fail(ExitCode::kUsage, "--{}={}: give 1 to {} threads", name, value, kMaxLocalTasks);
    }
    if (value > 1 && !flags.job_name.empty()) {
      fail(ExitCode::kUsage, "--{}={} is for local runs; with --job_name the cluster is described by its hosts", name,
           value);
    }
  }
  const std::int64_t replicas = flags.replicas_to_aggregate;
  if (replicas < 0 || replicas > kMaxReplicas) {
    fail(ExitCode::kUsage, "--replicas_to_aggregate={}: give 0 (the number of workers) to {}", replicas, kMaxReplicas);
  }
  if (flags.max_staleness < kUnboundedStaleness) {
    fail(ExitCode::kUsage, "--max_staleness={}: give a number of batches from 0 up, or -1 for any",
         flags.max_staleness);
  }
  if (flags.warmup_steps < 0 || !(flags.warmup_epochs >= 0 && flags.warmup_epochs <= 1e6)) {
    fail(ExitCode::kUsage, "--warmup_steps={} --warmup_epochs={}: give numbers from 0 up", flags.warmup_steps,
         flags.warmup_epochs);
  }
  forbid(flags.warmup_steps > 0 && flags.warmup_epochs > 0, "warmup_epochs",
         "and --warmup_steps say the same; give only one");
  if (flags.sync_replicas) {
    const char* const why = "is for asynchronous runs; leave out either this flag or --sync_replicas";
    forbid(staleness.policy != StalenessPolicy::kKeep, "staleness", why);
    forbid(flags.max_staleness != kUnboundedStaleness, "max_staleness", why);
    forbid(flags.warmup_steps > 0, "warmup_steps", why);
    forbid(flags.warmup_epochs > 0, "warmup_epochs", why);
  } else {
    const char* const why = "is for synchronous runs; give --sync_replicas as well";
    forbid(replicas > 0, "replicas_to_aggregate", why);
    forbid(!flags.on_lost_worker.empty(), "on_lost_worker", why);
  }
}

Strategy strategy_of(const Flags& flags, std::uint32_t num_workers, std::int64_t warmup_steps) {
  const StalenessRule staleness = parse_staleness(flags.staleness);
  Strategy strategy;
  strategy.sync = flags.sync_replicas;
  strategy.replicas_to_aggregate =
      flags.replicas_to_aggregate > 0 ? static_cast<std::uint32_t>(flags.replicas_to_aggregate) : num_workers;
  strategy.on_lost_worker = parse_on_lost_worker(flags.on_lost_worker);
  strategy.staleness = staleness.policy;
  strategy.drop_above = staleness.drop_above;
  strategy.max_staleness = flags.max_staleness;
  strategy.warmup_steps = warmup_steps;
  strategy.train_steps = flags.train_steps;
  strategy.on_nan = parse_on_nan(flags.on_nan);
  return strategy;
}

Fingerprint replication_fingerprint(const Flags& flags) {
  return {{"--sync_replicas", flags.sync_replicas ? "true" : "false"},
          {"--replicas_to_aggregate", std::to_string(flags.replicas_to_aggregate)},
          {"--on_lost_worker", flags.on_lost_worker.empty() ? "shrink" : flags.on_lost_worker},
          {"--staleness", flags.staleness},
          {"--max_staleness", std::to_string(flags.max_staleness)},
          {"--warmup_steps", std::to_string(flags.warmup_steps)},
          {"--warmup_epochs", fmt::format("{}", flags.warmup_epochs)},
          {"--on_nan", flags.on_nan}};
}

std::string replication_to_toml(const Flags& flags) {
  const Flags defaults;
  std::string out;
  const auto add = [&out](const char* name, const auto& value, const auto& default_value) {
    if (value != default_value) out += fmt::format("{} = {}\n", name, value);
  };
  const auto quoted = [](const std::string& text) { return "\"" + text + "\""; };
  add("num_workers", flags.num_workers, defaults.num_workers);
  add("num_ps", flags.num_ps, defaults.num_ps);
  if (flags.sync_replicas_given) out += fmt::format("sync_replicas = {}\n", flags.sync_replicas);
  add("replicas_to_aggregate", flags.replicas_to_aggregate, defaults.replicas_to_aggregate);
  add("on_lost_worker", quoted(flags.on_lost_worker), quoted(defaults.on_lost_worker));
  add("staleness", quoted(flags.staleness), quoted(defaults.staleness));
  add("max_staleness", flags.max_staleness, defaults.max_staleness);
  add("warmup_steps", flags.warmup_steps, defaults.warmup_steps);
  add("warmup_epochs", flags.warmup_epochs, defaults.warmup_epochs);
  add("on_nan", quoted(flags.on_nan), quoted(defaults.on_nan));
  return out;
}

}  // namespace distmnist
