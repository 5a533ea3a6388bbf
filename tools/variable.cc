// distmnist variable: shared variables, which live on the ps tasks independently of clients. A scalar is on ps 0, the
// first of --ps_hosts, so that every client finds the same one without knowing about the others.
#include <algorithm>
#include <cmath>
#include <map>

#include "lib/base/join.h"
#include "lib/base/output.h"
#include "lib/ps/records/control.h"
#include "lib/ps/records/names.h"
#include "lib/supervisor/safetensors_header.h"
#include "tools/admin.h"
#include "tools/commands.h"
#include "tools/flag_values.h"
#include "tools/flags.h"

namespace distmnist {
namespace {

// The shortest text that represents this number, with at least one decimal: 1.0, 2.5, 1e+20.
std::string shortest_text(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  return text;
}

VariableRecord question_of(const Flags& flags) {
  VariableRecord question;
  question.action = *flags.admin.action;
  question.container = flags.cluster.container;
  question.name = flags.admin.name;
  question.value = flags.admin.value.value_or(question.action == VariableAction::kAdd ? 1 : 0);
  if (question.action == VariableAction::kList) {
    if (!question.name.empty()) fail(ExitCode::kUsage, "variable list {}: list takes no name", question.name);
  } else if (question.name.empty()) {
    fail(ExitCode::kUsage, "variable {}: give the name of the variable", *text_of(*flags.admin.action));
  } else if (!is_name(question.name)) {
    fail(ExitCode::kUsage, "variable {} '{}': not a variable name; {}", *text_of(*flags.admin.action), question.name,
         name_rule());
  }
  const bool takes_value = question.action == VariableAction::kInit || question.action == VariableAction::kAdd;
  if (flags.admin.value && !takes_value) {
    fail(ExitCode::kUsage, "--value={}: variable {} takes no value", *flags.admin.value, *text_of(*flags.admin.action));
  }
  if (!std::isfinite(question.value)) fail(ExitCode::kUsage, "--value={}: give a finite number", question.value);
  return question;
}

// "conv1/weights: 800 floats on ps:0, 800 on ps:1", ordered by the first ps that holds a part.
void print_list(const Flags& flags, const std::vector<VariableAnswerRecord>& answers) {
  if (std::ranges::none_of(answers, &VariableAnswerRecord::container_is_there)) {
    fail(ExitCode::kUsage,
         "{} does not exist; start a run with this --container or use distmnist variable init to create it",
         container_title(flags.cluster.container));
  }
  for (const auto& [name, value] : answers.front().shared) print("{} = {}\n", printable(name), shortest_text(value));
  std::vector<std::string> names;
  std::map<std::string, std::string> lines;
  for (std::size_t k = 0; k < answers.size(); ++k) {
    for (const auto& [name, floats] : answers[k].model) {
      const bool first = lines.find(name) == lines.end();
      if (first) names.push_back(name);
      lines[name] += fmt::format("{} {}{} on ps:{}", first ? ":" : ",", floats, first ? " floats" : "", k);
    }
  }
  for (const std::string& name : names) print("{}{}\n", printable(name), lines[name]);
}

}  // namespace

ExitCode variable_command(const Flags& flags) {
  VariableRecord question = question_of(flags);
  const AdminConfig config = admin_config(flags);
  question.num_ps = static_cast<std::uint32_t>(config.ps.size());
  const bool list = question.action == VariableAction::kList;
  std::vector<Frame> questions;
  for (std::uint32_t k = 0; k < (list ? question.num_ps : 1); ++k) {
    question.ps_index = k;
    questions.push_back(encode(question));
  }
  const std::vector<AdminOutcome> outcomes =
      ask_ps_tasks(config, MessageType::kVariable, MessageType::kVariableAnswer, questions);
  std::vector<VariableAnswerRecord> answers;
  for (std::size_t k = 0; k < outcomes.size(); ++k) {
    if (outcomes[k].code != ExitCode::kOk) fail(outcomes[k].code, "{}: {}", ps_name(config, k), outcomes[k].error);
    const auto answer = decode<VariableAnswerRecord>(outcomes[k].answer.bytes());
    if (!answer)
      fail(ExitCode::kVersion, "{} sent an answer that this program does not understand", ps_name(config, k));
    answers.push_back(*answer);
  }
  if (list) {
    print_list(flags, answers);
  } else {
    print("{}\n", shortest_text(answers.front().value));
  }
  return ExitCode::kOk;
}

}  // namespace distmnist
