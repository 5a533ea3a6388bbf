// distmnist reset: drops containers on every ps, and prints the result for each.
#include <algorithm>

#include "lib/base/counted.h"
#include "lib/base/join.h"
#include "lib/base/output.h"
#include "lib/ps/records/control.h"
#include "lib/ps/records/names.h"
#include "tools/admin.h"
#include "tools/commands.h"
#include "tools/flags.h"

namespace distmnist {
namespace {

std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names;
  std::size_t begin = 0;
  while (true) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, comma - begin);
    if (name.empty() && !text.empty()) {
      fail(ExitCode::kUsage, "--container={}: entry {} is empty; reset the default container separately, with \"\"",
           text, names.size());
    }
    if (!is_container_name(name)) {
      fail(ExitCode::kUsage, "--container={}: '{}' is not a container name; {}", text, name, name_rule());
    }
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    if (comma == text.size()) return names;
    begin = comma + 1;
  }
}

// "dropped a (2 sessions ended), b does not exist"
std::string describe(const ResetDoneRecord& done) {
  std::vector<std::string> parts;
  for (const ResetDoneRecord::Container& container : done.containers) {
    const std::string name = container.name.empty() ? "the default container" : container.name;
    parts.push_back(container.was_there
                        ? fmt::format("dropped {} ({} ended)", name, counted(container.num_sessions, "session"))
                        : name + " does not exist");
  }
  return parts.empty() ? "no containers to drop" : join(parts, ", ");
}

}  // namespace

ExitCode reset_command(const Flags& flags) {
  if (!flags.admin.containers && !flags.admin.all) {
    fail(ExitCode::kUsage,
         "reset drops variables and ends the runs that use them: name the containers with --container a,b (\"\" is the "
         "default one), or give --all");
  }
  if (flags.admin.containers && flags.admin.all) {
    fail(ExitCode::kUsage, "--container={} and --all: give one of them", *flags.admin.containers);
  }
  ResetRecord question;
  if (flags.admin.containers) question.containers = split_names(*flags.admin.containers);
  const AdminConfig config = admin_config(flags);
  std::vector<Frame> questions;
  for (std::size_t k = 0; k < config.ps.size(); ++k) questions.push_back(encode(question));

  const std::vector<AdminOutcome> outcomes =
      ask_ps_tasks(config, MessageType::kReset, MessageType::kResetDone, questions);
  ExitCode code = ExitCode::kOk;
  std::vector<std::string> failed;
  for (std::size_t k = 0; k < outcomes.size(); ++k) {
    const AdminOutcome& outcome = outcomes[k];
    if (outcome.code == ExitCode::kOk) {
      const auto done = decode<ResetDoneRecord>(outcome.answer.bytes());
      if (!done)
        fail(ExitCode::kVersion, "{} sent an answer that this program does not understand", ps_name(config, k));
      print("{}: {}\n", ps_name(config, k), describe(*done));
      continue;
    }
    print("{}: not reset: {}\n", ps_name(config, k), outcome.error);
    failed.push_back(ps_name(config, k));
    if (code == ExitCode::kOk) code = outcome.code;
  }
  if (code == ExitCode::kOk) return code;
  const std::string_view advice = code == ExitCode::kLostPeer ? "; try again when the ps tasks can be reached" : "";
  fail(code, "{} {} not reset{}", join(failed, ", "), failed.size() == 1 ? "was" : "were", advice);
}

}  // namespace distmnist
