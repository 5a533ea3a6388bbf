// The part of PsCore that answers questions from outside any run: resets and shared variables.
#include <algorithm>
#include <cmath>
#include <utility>

#include "lib/base/counted.h"
#include "lib/base/join.h"
#include "lib/ps/records/names.h"
#include "lib/ps/server/ps_core.h"
#include "lib/ps/server/roles.h"

namespace distmnist {

// ---- Resets ----

void PsCore::on_reset(const Sender& from, const Message& message, TimeMs now) {
  if (const std::string fault = fault_of_reset(from, identity_.stay); !fault.empty()) {
    return refuse(from, message.header, ExitCode::kSecurity, fault);
  }
  if (answer_again(from, message.header)) return;
  auto record = decode<ResetRecord>(message.payload.bytes());
  if (!record) return cut_off(from, "a reset request that cannot be read");
  if (record->containers.size() > kMaxContainers) {
    return refuse(from, message.header, ExitCode::kUsage,
                  fmt::format("a reset names {} containers; name at most {}, or none to drop them all",
                              record->containers.size(), kMaxContainers));
  }
  if (!std::ranges::all_of(record->containers, is_container_name)) {
    return refuse(from, message.header, ExitCode::kUsage, "invalid container name; " + name_rule());
  }
  if (record->containers.empty()) {
    for (const auto& [id, entry] : containers_) record->containers.push_back(entry.name);
  }
  ResetDoneRecord done;
  for (const std::string& name : record->containers) done.containers.push_back(reset(from, name, now));
  remember(message.header, MessageType::kResetDone, encode(done));
  answer_again(from, message.header);
}

ResetDoneRecord::Container PsCore::reset(const Sender& from, const std::string& name, TimeMs now) {
  ResetDoneRecord::Container result{name, false, 0};
  const auto at = containers_.find(container_id(name));
  if (at == containers_.end()) return result;
  result.was_there = true;
  if (Container* run = at->second.run.get()) {
    const std::string reason =
        fmt::format("{} was reset; start this task again for a new run", container_title(shown(name)));
    result.num_sessions = shut_out(*run, {static_cast<std::int32_t>(ExitCode::kVersion), reason});
    run->hang_up();
  }
  containers_.erase(at);
  vacant_since_ms_ = last_report_ms_ = now;
  log_event(LogLevel::kInfo, fmt::format("reset by {} {}", from.address, name),
            fmt::format("reset by {}: dropped {}, {} ended", from.address, container_title(shown(name)),
                        counted(result.num_sessions, "session")));
  return result;
}

std::uint32_t PsCore::shut_out(const Container& run, const RefuseRecord& refusal) {
  std::uint32_t living = 0;
  for (const auto& [worker, member] : run.members().members()) {
    for (const Greeting& newcomer : member.waiting) shut_out(newcomer, {}, refusal);
    if (!member.session) continue;
    const Session& session = *member.session;
    shut_out(session.greeting, session.ping_route, refusal);
    if (!session.lost && !member.done) ++living;
  }
  return living;
}

void PsCore::shut_out(const Greeting& greeting, const Route& ping_route, const RefuseRecord& refusal) {
  const Header& header = greeting.header;
  shut_out_.remember({header.container, header.worker, header.incarnation}, refusal);
  for (const Route& to : {greeting.from.route, ping_route}) {
    if (!to.empty()) answer(to, header, MessageType::kRefuse, encode(refusal));
  }
}

// ---- Shared variables ----

void PsCore::on_variable(const Sender& from, const Message& message) {
  const Header& header = message.header;
  if (answer_again(from, header)) return;
  const auto question = decode<VariableRecord>(message.payload.bytes());
  if (!question) return cut_off(from, "a variable request that cannot be read");
  if (const std::string fault = fault_of(*question); !fault.empty()) {
    return refuse(from, header, ExitCode::kUsage, fault);
  }
  const std::string& name = question->name;
  if (question->action == VariableAction::kList) return list_variables(from, header, question->container);

  if (question->action == VariableAction::kInit) {
    Entry* entry = claim(from, header, question->container);
    if (entry == nullptr) return;
    const auto value = entry->variables.init(name, question->value);
    if (value)
      return answer_question(from, header, MessageType::kVariableAnswer,
                             encode(VariableAnswerRecord{*value, true, {}, {}}));
    return refuse(
        from, header, ExitCode::kResources,
        fmt::format("{} already has {} shared variables, the most it can hold; reset it, or use a different container",
                    container_title(entry->name), kMaxSharedVariables));
  }
  const auto at = containers_.find(container_id(question->container));
  Entry* entry = at == containers_.end() ? nullptr : &at->second;
  const bool adds = question->action == VariableAction::kAdd;
  std::optional<double> value;
  if (entry != nullptr) value = entry->variables.get(name);
  if (adds && value && !std::isfinite(*value + question->value)) {
    return refuse(from, header, ExitCode::kUsage,
                  fmt::format("the sum with the present value {} is not finite", *value));
  }
  if (entry != nullptr) value = adds ? entry->variables.add(name, question->value) : entry->variables.get(name);
  if (!value) return refuse(from, header, ExitCode::kUsage, missing_text(*question, entry));
  Frame record = encode(VariableAnswerRecord{*value, true, {}, {}});
  if (!adds) return answer_question(from, header, MessageType::kVariableAnswer, std::move(record));
  remember(header, MessageType::kVariableAnswer, std::move(record));
  answer_again(from, header);
}

// Empty if this ps can answer it.
std::string PsCore::fault_of(const VariableRecord& question) const {
  if (!identity_.stay) {
    return fmt::format("ps:{} ends with its run and has no shared variables; start it with --ps_stay", identity_.index);
  }
  if (question.num_ps != identity_.num_ps || question.ps_index != identity_.index) {
    return fmt::format(
        "this is ps:{} of {}, but it was asked as ps:{} of {}; give the same --ps_hosts as to the ps tasks",
        identity_.index, identity_.num_ps, question.ps_index, question.num_ps);
  }
  if (!is_container_name(question.container)) return "invalid container name; " + name_rule();
  if (question.action == VariableAction::kList) return {};
  if (!is_name(question.name)) return "invalid variable name; " + name_rule();
  if (!std::isfinite(question.value)) return "the value is not finite";
  return {};
}

std::string PsCore::missing_text(const VariableRecord& question, const Entry* entry) const {
  std::vector<std::string> names;
  if (entry != nullptr) {
    for (const auto& [name, value] : entry->variables.values()) names.push_back(name);
  }
  return fmt::format("{} has no shared variable '{}'; create it with distmnist variable init {}, or use one of: {}",
                     container_title(question.container), question.name, question.name,
                     names.empty() ? "(none yet)" : join(names, ", "));
}

void PsCore::list_variables(const Sender& from, const Header& request, const std::string& container) {
  VariableAnswerRecord record;
  const auto at = containers_.find(container_id(container));
  if (at != containers_.end()) {
    const Entry& entry = at->second;
    record.container_is_there = true;
    record.shared.assign(entry.variables.values().begin(), entry.variables.values().end());
    if (entry.run) {
      // A variable that is split has several pieces, one after the other.
      for (const NamedRange& piece : entry.run->pieces()) {
        if (record.model.empty() || record.model.back().first != piece.name) record.model.emplace_back(piece.name, 0);
        record.model.back().second += piece.range.size;
      }
    }
  }
  Frame frame = encode(record);
  if (frame.size() > kMaxPayloadBytes) {
    return refuse(from, request, ExitCode::kResources, "the list of its variables does not fit in one message");
  }
  answer_question(from, request, MessageType::kVariableAnswer, std::move(frame));
}

void PsCore::answer_question(const Sender& to, const Header& request, MessageType type, Frame record) {
  keep_questioner(to.route);
  answer(to.route, request, type, std::move(record));
}

// Clients ask once or a few times, so if there are many connections the oldest does not have to stay.
void PsCore::keep_questioner(const Route& route) {
  actions_.keep(route);
  if (std::ranges::find(questioners_, route) != questioners_.end()) return;
  questioners_.push_back(route);
  if (questioners_.size() <= kMaxQuestioners) return;
  actions_.cut(questioners_.front());
  questioners_.pop_front();
}

// ---- Repeated questions ----

void PsCore::remember(const Header& request, MessageType type, Frame record) {
  const std::size_t cost = std::max(record.size(), kLeastRememberedBytes);
  answers_.remember({request.incarnation, request.sequence}, {type, std::make_shared<Frame>(std::move(record))}, cost);
}

// True if the question has been acted on: only its answer was lost.
bool PsCore::answer_again(const Sender& to, const Header& request) {
  const auto* known = answers_.find({request.incarnation, request.sequence});
  if (known == nullptr) return false;
  answer_question(to, request, known->first, Frame::share(known->second));
  return true;
}

}  // namespace distmnist
