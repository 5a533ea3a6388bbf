#include "lib/ps/server/ps_core.h"

#include <iterator>
#include <limits>
#include <new>
#include <utility>

#include "lib/ps/records/names.h"
#include "lib/ps/server/roles.h"

namespace distmnist {
namespace {

// Whether the action succeeded. A caller must be able to go on without it: there may not even be memory to report that.
template <class Action>
bool attempt(const Action& action) noexcept {
  try {
    action();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

PsCore::TitledActions::TitledActions(const std::string& container, PsCore& ps)
    : title(container.empty() ? "" : container_title(shown(container)) + ": "), core(ps) {}

PsCore::PsCore(const PsSetup& setup, PsActions& actions, TimeMs now)
    : identity_(setup.identity),
      limits_(setup.limits),
      actions_(actions),
      pool_(setup.pool),
      vacant_since_ms_(now),
      last_report_ms_(now),
      now_(now) {}

// A failure with one message affects only its sender, not the process and its other workers.
void PsCore::on_message(const Sender& from, Received&& received, TimeMs now) {
  now_ = now;
  const Header header = received.message.header;
  try {
    handle(from, std::move(received), now);
  } catch (const std::bad_alloc&) {
    const bool told = attempt([&] {
      refuse(from, header, ExitCode::kResources,
             fmt::format("ps:{} does not have the memory for this; use more ps tasks or a smaller model",
                         identity_.index));
    });
    if (!told) attempt([&] { actions_.cut(from.route); });
  } catch (const std::exception& error) {
    break_off(from, header, error.what(), now);
  }
}

void PsCore::break_off(const Sender& from, const Header& header, const char* why, TimeMs now) {
  const bool told = attempt([&] {
    cut_off(from, fmt::format("a message of type {} failed: {}", static_cast<int>(header.type), shown(why)));
  });
  if (!told) attempt([&] { actions_.cut(from.route); });
  attempt([&] {
    const auto at = containers_.find(header.container);
    if (at != containers_.end() && at->second.run) at->second.run->end_session(header, now);
  });
}

void PsCore::handle(const Sender& from, Received&& received, TimeMs now) {
  Header& header = received.message.header;
  if (received.fault == HeaderFault::kVersion) {
    refuse(from, header, ExitCode::kVersion,
           fmt::format("ps:{} speaks protocol version {}, but the request came in version {}; use the same version of "
                       "distmnist everywhere",
                       identity_.index, kProtocolVersion, header.version));
    return actions_.cut(from.route);
  }
  if (received.fault != HeaderFault::kNone) return cut_off(from, to_string(received.fault));
  if (const std::string fault = fault_of_key(from, header); !fault.empty()) {
    refuse(from, header, ExitCode::kSecurity, fault);
    return actions_.cut(from.route);
  }
  if (header.type == MessageType::kReset) return on_reset(from, received.message, now);
  if (header.type == MessageType::kVariable) return on_variable(from, received.message);
  if (failed_) return on_message_after_failure(from.route, header, now);
  if (const RefuseRecord* refusal = shut_out_.find({header.container, header.worker, header.incarnation})) {
    return answer(from.route, header, MessageType::kRefuse, encode(*refusal));
  }
  Entry* entry = entry_for(from, received.message, now);
  if (entry == nullptr) return;
  const std::uint64_t id = header.container;
  if (contest_ && contest_->container == id && header.type != MessageType::kLeave &&
      entry->run->members().is_current(header)) {
    end_contest();
  }
  const bool leaves = header.type == MessageType::kLeave;
  const std::uint32_t worker = header.worker;
  entry->run->on_message(from, std::move(received.message), now);
  settle(containers_.find(id), now);
  if (failed_ && leaves) failed_->workers.erase(worker);
}

PsCore::Entry* PsCore::entry_for(const Sender& from, Message& message, TimeMs now) {
  const Header header = message.header;
  const auto at = containers_.find(header.container);
  if (at != containers_.end() && at->second.run) return &at->second;
  const bool other_is_here = !identity_.stay && !containers_.empty();
  if (header.type != MessageType::kHello) {
    if (other_is_here) return refuse(from, header, ExitCode::kVersion, other_container_text()), nullptr;
    // From a session with the process that was here before: its worker must send a new hello.
    actions_.send(from.route, Message{answer_to(header, MessageType::kStale, identity_.epoch), {}});
    return nullptr;
  }
  // Only a hello that names its own container claims this ps.
  const auto hello = decode<HelloRecord>(message.payload.bytes());
  if (!hello || container_id(hello->container) != header.container) {
    return cut_off(from, "a greeting that cannot be read"), nullptr;
  }
  if (!is_container_name(hello->container)) {
    refuse(from, header, ExitCode::kUsage, "invalid container name; " + name_rule());
    return nullptr;
  }
  if (other_is_here && !makes_way(from, message, now)) return nullptr;
  PsIdentity identity = identity_;
  if (identity_.stay) {
    if (hello->num_workers < 1 || hello->num_workers > kMaxWorkers) {
      refuse(from, header, ExitCode::kUsage,
             fmt::format("a run has 1 to {} workers, but this one has {}", kMaxWorkers, hello->num_workers));
      return nullptr;
    }
    identity.num_workers = hello->num_workers;
  }
  Entry* entry = claim(from, header, hello->container);
  if (entry == nullptr) return nullptr;
  try {
    entry->run = std::make_unique<Container>(PsSetup{identity, limits_, pool_}, entry->actions);
  } catch (const std::bad_alloc&) {
    if (entry->variables.values().empty()) containers_.erase(header.container);
    throw;
  }
  return entry;
}

PsCore::Entry* PsCore::claim(const Sender& from, const Header& request, const std::string& name) {
  const std::uint64_t id = container_id(name);
  const auto at = containers_.find(id);
  if (at != containers_.end()) return &at->second;
  if (containers_.size() < kMaxContainers) return &containers_.try_emplace(id, name, *this).first->second;
  refuse(
      from, request, ExitCode::kResources,
      fmt::format("ps:{} already holds {} containers, the most it can; drop one with distmnist reset --container NAME",
                  identity_.index, kMaxContainers));
  return nullptr;
}

// ---- A first hello, perhaps from a stranger, for a container that no other process asks for ----

std::string PsCore::other_container_text() const {
  return fmt::format("ps:{} serves a different container; start it with --ps_stay to serve several", identity_.index);
}

bool PsCore::makes_way(const Sender& from, Message& greeting, TimeMs now) {
  Container& run = *containers_.begin()->second.run;
  if (run.has_model()) return refuse(from, greeting.header, ExitCode::kVersion, other_container_text()), false;
  if (run.members().num_live() == 0) return drop_first_run(now), true;
  if (!contest_) contest_ = Contest{containers_.begin()->first, now + kProbeMs, {}};
  run.probe_everyone();
  if (contest_->greetings.size() < kMaxContestants) contest_->greetings.emplace_back(from, std::move(greeting));
  return false;
}

// A process of the present container is alive.
void PsCore::end_contest() {
  const Contest contest = *std::exchange(contest_, std::nullopt);
  for (const auto& [from, greeting] : contest.greetings) {
    refuse(from, greeting.header, ExitCode::kVersion, other_container_text());
    actions_.cut(from.route);
  }
}

void PsCore::tick_contest(TimeMs now) {
  if (!contest_) return;
  const auto contested = containers_.find(contest_->container);
  const bool is_there = contested != containers_.end();  // Otherwise it was reset.
  if (is_there && contested->second.run->members().num_live() > 0 && now < contest_->deadline_ms) return;
  if (is_there) drop_first_run(now);
  Contest contest = *std::exchange(contest_, std::nullopt);
  for (auto& [from, greeting] : contest.greetings) on_message(from, {std::move(greeting), HeaderFault::kNone}, now);
}

void PsCore::drop_first_run(TimeMs now) {
  log_event(LogLevel::kInfo, "claims",
            fmt::format("{} had no model and its workers do not answer; a different container takes its place",
                        container_title(shown(containers_.begin()->second.name))));
  containers_.begin()->second.run->hang_up();
  containers_.clear();
  vacant_since_ms_ = last_report_ms_ = now;
}

// Handles changes to a container as a whole that a message may have caused.
void PsCore::settle(Entries::iterator at, TimeMs now) {
  Entry& entry = at->second;
  if (entry.run->failure()) return end_failed_run(at, now), void();
  if (entry.run->members().members().empty()) return drop_run(at), void();  // Its first hello was refused.
  if (!entry.run->ended()) return;
  if (!identity_.stay) {
    end_ = End{ExitCode::kOk, "all workers are done"};
  } else if (!std::exchange(entry.end_logged, true)) {
    entry.actions.log(LogLevel::kInfo, "all workers are done; the variables stay");
  }
}

PsCore::Entries::iterator PsCore::end_failed_run(Entries::iterator at, TimeMs now) {
  const Container& run = *at->second.run;
  const std::string reason = *run.failure();
  at->second.actions.log_event(LogLevel::kWarning, "failed",
                               fmt::format("the run has failed and its model is dropped: {}", shown(reason)));
  if (!identity_.stay) {
    const std::vector<std::uint32_t> missing = run.members().missing();
    failed_ = Failed{reason, now, {missing.begin(), missing.end()}, now};
  }
  shut_out(run, {static_cast<std::int32_t>(ExitCode::kDiverged), reason});
  vacant_since_ms_ = last_report_ms_ = now;
  return drop_run(at);
}

void PsCore::on_message_after_failure(const Route& route, const Header& header, TimeMs now) {
  // A worker that leaves has been told, and one that sends a hello is told now.
  if (header.type == MessageType::kLeave || header.type == MessageType::kHello) {
    if (failed_->workers.erase(header.worker) > 0) failed_->last_word_ms = now;
  }
  if (header.type != MessageType::kLeave) send_refusal(route, header, ExitCode::kDiverged, failed_->reason);
}

// Returns the entry after the one whose run is dropped. Shared variables stay. Connections on which the workers of a
// failed run still have to say that they leave stay, too.
PsCore::Entries::iterator PsCore::drop_run(Entries::iterator at) {
  if (!failed_) at->second.run->hang_up();
  at->second.run.reset();
  return at->second.variables.values().empty() ? containers_.erase(at) : std::next(at);
}

void PsCore::on_tick(TimeMs now) {
  now_ = now;
  if (!attempt([&] { tick(now); })) {
    attempt([&] { log_event(LogLevel::kError, "tick", "a periodic task failed; it will be tried again"); });
  }
}

void PsCore::tick(TimeMs now) {
  for (const std::string& line : refusals_.due(now)) actions_.log(LogLevel::kWarning, line);
  for (const std::string& line : events_.due(now)) actions_.log(LogLevel::kInfo, line);
  tick_contest(now);
  const Life life = tick_runs(now);
  if (end_) return;
  if (failed_) return end_failed(now);
  if (signal_ && (life.live == 0 || now - signal_->second >= kSignalGraceMs)) {
    end_ = End{signal_->first,
               life.live == 0 ? "stopped by a signal" : "stopped by a signal while workers were still connected"};
  } else if (!identity_.stay) {
    watch_vacancy(life, now);
  }
}

PsCore::Life PsCore::tick_runs(TimeMs now) {
  // After a signal, the ps does not wait for the lease of a dead worker to run out.
  const TimeMs silence_ms = std::max(kSignalSilenceMs, limits_.silence_ms / 3);  // longer than between two heartbeats
  const TimeMs heard_since = signal_ ? now - silence_ms : std::numeric_limits<TimeMs>::min();
  Life life;
  for (auto at = containers_.begin(); at != containers_.end();) {
    Container* run = at->second.run.get();
    if (run == nullptr) {
      ++at;
      continue;
    }
    try {
      run->on_tick(now);
    } catch (const std::exception& error) {
      log_event(LogLevel::kError, "tick", fmt::format("a periodic task failed: {}", shown(error.what())));
    }
    if (run->failure()) {
      at = end_failed_run(at, now);
      continue;
    }
    if (run->ended()) settle(at, now);
    life.live += run->members().num_live(heard_since);
    life.complete |= run->complete();
    life.last_ms = std::max(life.last_ms, run->members().last_life_ms());
    // The container never had a model: the next run with this name may have a different size.
    const bool abandoned = identity_.stay && !run->has_model() && run->members().num_live() == 0;
    at = abandoned ? drop_run(at) : std::next(at);
  }
  return life;
}

void PsCore::end_failed(TimeMs now) {
  const bool all_gone = failed_->workers.empty() && now - failed_->last_word_ms >= kLastWordMs;
  if (!all_gone && !signal_ && now - failed_->since_ms < kSignalGraceMs) return;
  end_ = End{ExitCode::kDiverged, failed_->reason};
}

void PsCore::watch_vacancy(const Life& life, TimeMs now) {
  if (life.live > 0) {
    last_report_ms_ = now;
    return;
  }
  const TimeMs waited_ms = now - life.last_ms.value_or(vacant_since_ms_);
  const TimeMs limit = life.last_ms ? limits_.recovery_wait_ms : kFirstWorkerMs;
  if (waited_ms >= limit && life.complete) {
    end_ = End{ExitCode::kOk, fmt::format("the run is complete, but {} never reported its end", waiting_for())};
  } else if (waited_ms >= limit) {
    end_ = End{ExitCode::kLostPeer,
               fmt::format("no sign of {} for {:.0f} s", waiting_for(), static_cast<double>(waited_ms) / 1000)};
  } else if (now - last_report_ms_ >= kReportEveryMs) {
    last_report_ms_ = now;
    actions_.log(LogLevel::kInfo, fmt::format("waiting for {} for at most another {:.0f} s", waiting_for(),
                                              static_cast<double>(limit - waited_ms) / 1000));
  }
}

void PsCore::on_signal(ExitCode code, TimeMs now) {
  if (!signal_) signal_ = {code, now};
}

std::string PsCore::waiting_for() const {
  std::string out;
  if (containers_.empty())
    return identity_.num_workers == 1 ? "worker:0" : fmt::format("worker:0..{}", identity_.num_workers - 1);
  for (const std::uint32_t worker : containers_.begin()->second.run->members().missing()) {
    out += fmt::format("{}worker:{}", out.empty() ? "" : ", ", worker);
  }
  return out;
}

void PsCore::refuse(const Sender& to, const Header& request, ExitCode code, const std::string& reason) {
  log_about_peer(to.address, fmt::format("refused a peer at {}: {}", to.address, shown(reason)));
  send_refusal(to.route, request, code, reason);
}

void PsCore::cut_off(const Sender& from, const std::string& why) {
  log_about_peer(from.address, fmt::format("dropped a connection from {}: {}", from.address, why));
  actions_.cut(from.route);
}

void PsCore::log_about_peer(const std::string& address, const std::string& line) {
  if (const auto text = refusals_.line(address, line, now_)) actions_.log(LogLevel::kWarning, *text);
}

void PsCore::log_event(LogLevel level, const std::string& key, const std::string& line) {
  if (const auto text = events_.line(key, line, now_)) actions_.log(level, *text);
}

void PsCore::send_refusal(const Route& route, const Header& request, ExitCode code, const std::string& reason) {
  answer(route, request, MessageType::kRefuse, encode(RefuseRecord{static_cast<std::int32_t>(code), reason}));
}

void PsCore::answer(const Route& route, const Header& request, MessageType type, Frame record) {
  Header header = answer_to(request, type, identity_.epoch);
  header.dtype = WireDtype::kRecord;
  actions_.send(route, Message{header, std::move(record)});
}

}  // namespace distmnist
