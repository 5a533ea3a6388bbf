#include "lib/ps/ps_core.h"

#include <iterator>
#include <limits>
#include <utility>

#include "lib/ps/names.h"

namespace distmnist {

PsCore::TitledActions::TitledActions(const std::string& container, PsActions& to)
    : title(container.empty() ? "" : container_title(container) + ": "), actions(to) {}

PsCore::PsCore(const PsIdentity& identity, const PsLimits& limits, PsActions& actions, TimeMs now, ThreadPool* pool)
    : identity_(identity),
      limits_(limits),
      actions_(actions),
      pool_(pool),
      vacant_since_ms_(now),
      last_report_ms_(now) {}

void PsCore::on_message(const Sender& from, Received&& received, TimeMs now) {
  const Route& route = from.route;
  Header& header = received.message.header;
  if (received.fault == HeaderFault::kVersion) {
    return refuse(
        route, header, ExitCode::kVersion,
        fmt::format("ps:{} speaks protocol version {} and was addressed in version {}; use one version of distmnist "
                    "everywhere",
                    identity_.index, kProtocolVersion, header.version));
  }
  if (received.fault != HeaderFault::kNone) {
    // A stranger or a broken message: said once, counted, and nothing more.
    if (dropped_++ == 0)
      actions_.log(LogLevel::kWarning, fmt::format("dropped a message: {}", to_string(received.fault)));
    return;
  }
  actions_.keep(route);
  if (header.type == MessageType::kReset) return on_reset(route, received.message, now);
  if (header.type == MessageType::kVariable) return on_variable(route, received.message);
  if (failed_) return on_message_after_failure(route, header, now);
  if (const RefuseRecord* refusal = shut_out_.find({header.container, header.worker, header.incarnation})) {
    return answer(route, header, MessageType::kRefuse, encode(*refusal));
  }
  Entry* entry = entry_for(route, received.message);
  if (entry == nullptr) return;
  const std::uint64_t id = header.container;
  const bool leaves = header.type == MessageType::kLeave;
  const std::uint32_t worker = header.worker;
  entry->run->on_message(route, std::move(received.message), now);
  settle(containers_.find(id), now);
  if (failed_ && leaves) failed_->workers.erase(worker);
}

PsCore::Entry* PsCore::entry_for(const Route& route, const Message& message) {
  const Header& header = message.header;
  const auto at = containers_.find(header.container);
  if (at != containers_.end() && at->second.run) return &at->second;
  if (!identity_.stay && !containers_.empty()) {
    refuse(route, header, ExitCode::kVersion,
           fmt::format("ps:{} serves another container; start it with --ps_stay to serve several", identity_.index));
    return nullptr;
  }
  // From a session with the process that was here before: its worker has to greet anew.
  if (header.type != MessageType::kHello) {
    actions_.send(route, Message{answer_to(header, MessageType::kStale, identity_.epoch), {}});
    return nullptr;
  }
  // Only a greeting that names the container it is for claims this ps.
  const auto hello = decode<HelloRecord>(message.payload.bytes());
  if (!hello || container_id(hello->container) != header.container) return nullptr;
  if (!is_container_name(hello->container)) {
    refuse(route, header, ExitCode::kUsage, "the name of its container is not a name; " + name_rule());
    return nullptr;
  }
  PsIdentity identity = identity_;
  if (identity_.stay) {
    if (hello->num_workers < 1 || hello->num_workers > kMaxWorkers) {
      refuse(route, header, ExitCode::kUsage,
             fmt::format("a run has 1 to {} workers, this one has {}", kMaxWorkers, hello->num_workers));
      return nullptr;
    }
    identity.num_workers = hello->num_workers;
  }
  Entry* entry = claim(route, header, hello->container);
  if (entry != nullptr) entry->run = std::make_unique<Container>(identity, limits_, entry->actions, pool_);
  return entry;
}

PsCore::Entry* PsCore::claim(const Route& route, const Header& request, const std::string& name) {
  const std::uint64_t id = container_id(name);
  const auto at = containers_.find(id);
  if (at != containers_.end()) return &at->second;
  if (containers_.size() < kMaxContainers) return &containers_.try_emplace(id, name, actions_).first->second;
  refuse(route, request, ExitCode::kResources,
         fmt::format("ps:{} holds {} containers, the most it takes; drop one with distmnist reset --container NAME",
                     identity_.index, kMaxContainers));
  return nullptr;
}

// What a message may have changed about a container as a whole.
void PsCore::settle(Entries::iterator at, TimeMs now) {
  Entry& entry = at->second;
  if (entry.run->failure()) return end_failed_run(at, now), void();
  if (entry.run->members().members().empty()) return drop_run(at), void();  // Its first greeting was refused.
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
  at->second.actions.log(LogLevel::kWarning, fmt::format("the run has failed, its model is dropped: {}", reason));
  if (!identity_.stay) {
    const std::vector<std::uint32_t> missing = run.members().missing();
    failed_ = Failed{reason, now, {missing.begin(), missing.end()}, now};
  }
  shut_out(run, {static_cast<std::int32_t>(ExitCode::kDiverged), reason});
  vacant_since_ms_ = last_report_ms_ = now;
  return drop_run(at);
}

void PsCore::on_message_after_failure(const Route& route, const Header& header, TimeMs now) {
  // Who leaves has been told, and who greets is told now.
  if (header.type == MessageType::kLeave || header.type == MessageType::kHello) {
    if (failed_->workers.erase(header.worker) > 0) failed_->last_word_ms = now;
  }
  if (header.type != MessageType::kLeave) send_refusal(route, header, ExitCode::kDiverged, failed_->reason);
}

// What comes after the entry whose run is dropped. Shared variables stay.
PsCore::Entries::iterator PsCore::drop_run(Entries::iterator at) {
  at->second.run.reset();
  return at->second.variables.values().empty() ? containers_.erase(at) : std::next(at);
}

void PsCore::on_tick(TimeMs now) {
  // Once a signal has come a worker that died is not waited for until its lease runs out.
  const TimeMs heard_since = signal_ ? now - kSignalSilenceMs : std::numeric_limits<TimeMs>::min();
  int live = 0;
  TimeMs last_life = -1;
  for (auto at = containers_.begin(); at != containers_.end();) {
    Container* run = at->second.run.get();
    if (run == nullptr) {
      ++at;
      continue;
    }
    run->on_tick(now);
    if (run->failure()) {
      at = end_failed_run(at, now);
      continue;
    }
    live += run->members().num_live(heard_since);
    last_life = std::max(last_life, run->members().last_life_ms().value_or(-1));
    // Nothing came of it: the next run under this name may be of another size.
    const bool abandoned = identity_.stay && !run->has_model() && run->members().num_live() == 0;
    at = abandoned ? drop_run(at) : std::next(at);
  }
  if (end_) return;
  if (failed_) {
    const bool all_gone = failed_->workers.empty() && now - failed_->last_word_ms >= kLastWordMs;
    if (all_gone || signal_ || now - failed_->since_ms >= kSignalGraceMs) {
      end_ = End{ExitCode::kDiverged, failed_->reason};
    }
    return;
  }
  if (signal_ && (live == 0 || now - signal_->second >= kSignalGraceMs)) {
    end_ = End{signal_->first, live == 0 ? "stopped by a signal" : "stopped by a signal; workers were still there"};
    return;
  }
  if (identity_.stay) return;
  if (live > 0) {
    last_report_ms_ = now;
    return;
  }
  const bool never = last_life < 0;
  const TimeMs since = never ? vacant_since_ms_ : last_life;
  const TimeMs limit = never ? kFirstWorkerMs : limits_.recovery_wait_ms;
  if (now - since >= limit) {
    end_ = End{ExitCode::kLostPeer,
               fmt::format("no sign of {} for {:.0f} s", waiting_for(), static_cast<double>(now - since) / 1000)};
  } else if (now - last_report_ms_ >= kReportEveryMs) {
    last_report_ms_ = now;
    actions_.log(LogLevel::kInfo, fmt::format("waiting for {}, for another {:.0f} s at most", waiting_for(),
                                              static_cast<double>(limit - (now - since)) / 1000));
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

void PsCore::refuse(const Route& route, const Header& request, ExitCode code, const std::string& reason) {
  actions_.log(LogLevel::kWarning, "refused a peer: " + reason);
  send_refusal(route, request, code, reason);
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
