#include "tools/keygen.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>
#include <utility>

#include "lib/base/bytes.h"
#include "lib/base/counted.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/folder.h"
#include "lib/base/join.h"
#include "lib/base/log.h"
#include "lib/base/lower_case.h"
#include "lib/base/output.h"
#include "lib/base/text_table.h"
#include "lib/cluster/address.h"
#include "lib/wire/key_file.h"
#include "lib/wire/keys.h"
#include "tools/cluster_setup.h"
#include "tools/commands.h"
#include "tools/flags.h"
#include "tools/signals.h"

namespace distmnist {
namespace {

namespace fs = std::filesystem;
using enum KeyOwner::Role;

constexpr const char* kAdminFolder = "admin";
constexpr KeyOwner kAdministrator{kAdmin, 0};

[[noreturn]] void refuse_tasks(std::string_view tasks, std::string_view why) {
  fail(ExitCode::kUsage, "--tasks={}: {}; write how many there are of each, like ps:2,worker:3", tasks, why);
}

// "worker:3" -> 3 owners.
std::vector<KeyOwner> owners_in(std::string_view piece, std::string_view tasks) {
  const std::size_t colon = piece.find(':');
  const std::string_view job = piece.substr(0, colon);
  if (job != "ps" && job != "worker") refuse_tasks(tasks, fmt::format("'{}' is neither ps nor worker", piece));
  const std::string_view digits = colon == piece.npos ? std::string_view() : piece.substr(colon + 1);
  std::uint32_t count = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  if (error != std::errc() || end != digits.data() + digits.size() || count < 1 || count > kMaxKeyTasks) {
    refuse_tasks(tasks, fmt::format("'{}' is not a number from 1 to {}", digits, kMaxKeyTasks));
  }
  std::vector<KeyOwner> owners;
  for (std::uint32_t index = 0; index < count; ++index) owners.push_back({job == "ps" ? kPs : kWorker, index});
  return owners;
}

void require_room(std::size_t num_tasks) {
  if (num_tasks <= kMaxKeyTasks) return;
  fail(ExitCode::kUsage, "{} tasks are too many: keys are made for at most {}", num_tasks, kMaxKeyTasks);
}

// Error if a host name cannot be the name of a folder next to the administrator's.
void require_folder_name(const std::string& name) {
  if (name == kAdminFolder) {
    fail(ExitCode::kUsage, "the host {} has the name of the administrator's key folder; give its address", name);
  }
  if (name.starts_with('.') || name.find('/') != name.npos) {
    fail(ExitCode::kUsage, "the host '{}' cannot be the name of a folder; give its address", name);
  }
}

// ---- Writing ----

[[noreturn]] void fail_writing(const fs::path& path, int error) {
  fail(exit_code_of(error, ExitCode::kUsage), "cannot make {}: {}", path.string(), errno_text(error));
}

// A folder next to the target with an unused name. Deleted with its contents unless it was moved.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const fs::path& target) : target_(target) {
    const fs::path parent = parent_folder(target);
    std::error_code ignored;
    if (!fs::exists(parent, ignored)) {
      fail(ExitCode::kUsage, "cannot make {}: there is no folder {}; make it first", target.string(), parent.string());
    }
    std::string name = (parent / ".distmnist-keys-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) fail_writing(target, errno);  // with mode 0700
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }

  // Replaces the target, which must be missing or an empty folder.
  void move_to_target() {
    const FileDescriptor fd(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd || syncfs(fd.get()) != 0) fail_writing(target_, errno);  // Syncs all the small files at once.
    if (rename(path_.c_str(), target_.c_str()) != 0) {
      const int error = errno;
      if (error == ENOTEMPTY || error == EEXIST) refuse_existing(target_);
      fail_writing(target_, error);
    }
    path_.clear();
    sync_folder(parent_folder(target_));
  }

  [[noreturn]] static void refuse_existing(const fs::path& target) {
    fail(ExitCode::kConflict, "{} is not empty, and keys are never overwritten; name a folder that does not exist yet",
         target.string());
  }

 private:
  fs::path target_, path_;
};

void write_new_file(const fs::path& path, mode_t mode, std::string_view text) {
  const FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd) fail_writing(path, errno);
  while (!text.empty()) {
    const ssize_t done = write(fd.get(), text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail_writing(path, errno);
    text.remove_prefix(static_cast<std::size_t>(done));
  }
}

using Pairs = std::map<KeyOwner, KeyPair>;

void write_folder(const fs::path& folder, const std::vector<KeyOwner>& owners, const Pairs& pairs) {
  if (mkdir(folder.c_str(), S_IRWXU) != 0) fail_writing(folder, errno);
  for (const KeyOwner& owner : owners) {
    const SecretText text = secret_key_text(owner, pairs.at(owner));
    write_new_file(folder / (file_name_of(owner) + std::string(kSecretSuffix)), S_IRUSR | S_IWUSR, text.text);
  }
  for (const auto& [owner, pair] : pairs) {
    write_new_file(folder / (file_name_of(owner) + std::string(kPublicSuffix)), 0644,
                   public_key_text(owner, pair.public_key));
  }
}

// The real location of the folder, with links resolved. Error if it cannot be created there.
fs::path real_target(const fs::path& folder) {
  if (folder.empty()) fail(ExitCode::kUsage, "keygen: the name of the folder is empty");
  const fs::path plain = without_slash(folder);
  if (const auto target = broken_link(plain)) {
    fail(ExitCode::kUsage, "{} is a link to {}, which does not exist", plain.string(), target->string());
  }
  std::error_code error;
  const fs::path target = fs::exists(plain, error) ? fs::canonical(plain, error) : plain;
  if (error) fail_writing(plain, error.value());
  if (!fs::exists(target, error)) return target;
  if (!fs::is_directory(target, error))
    fail(ExitCode::kUsage, "{} is not a folder; name a different one", plain.string());
  if (!fs::is_empty(target, error) && !error) TemporaryFolder::refuse_existing(plain);
  if (error) fail_writing(plain, error.value());
  // An empty folder is replaced, so a user's shell in it would be left in the deleted one.
  if (fs::equivalent(target, ".", error)) {
    fail(ExitCode::kUsage, "{} is the current folder; name one that does not exist yet", plain.string());
  }
  return target;
}

// ---- Output ----

// A word quoted for a shell command.
std::string shell_word(const std::string& word) {
  const bool plain = !word.empty() && std::ranges::all_of(word, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_@%+=:,./-").find(c) != std::string_view::npos;
  });
  if (plain) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  quoted += '\'';
  return quoted;
}

std::string names_of(const std::vector<KeyOwner>& owners) {
  std::vector<std::string> names;
  for (const KeyOwner& owner : owners) names.push_back(file_name_of(owner));
  return join(names, ", ");
}

bool is_this_host(const std::string& host) {
  return lower_case(host) == "localhost" || is_loopback_address(host);
}

// Table row: the owners of the keys in a folder, the command to copy it, and the flags for its tasks.
std::vector<std::string> row_of(const fs::path& folder, const KeyFolderPlan& plan) {
  const std::string path = shell_word((folder / plan.name).string());
  if (plan.name == kAdminFolder) return {"admin", "stays with you", "reset and variable take --keys " + path};
  if (is_this_host(plan.host)) return {names_of(plan.owners), "already in place", "--keys " + path};
  const bool ipv6 = plan.host.find(':') != std::string::npos;
  const std::string host = plan.host.empty() ? "HOST" : ipv6 ? fmt::format("[{}]", plan.host) : plan.host;
  return {names_of(plan.owners), fmt::format("scp -rp {} {}", path, shell_word(host + ":")),
          "--keys ~/" + shell_word(plan.name)};
}

void print_table(const fs::path& folder, const std::vector<KeyFolderPlan>& plan) {
  std::vector<std::vector<std::string>> rows = {{"keys of", "copied by", "flags there"}};
  for (const KeyFolderPlan& each : plan) rows.push_back(row_of(folder, each));
  for (const std::string& line : aligned(rows)) print("{}\n", line);
}

}  // namespace

std::vector<KeyFolderPlan> plan_of_tasks(std::string_view tasks) {
  std::vector<KeyOwner> owners;
  for (std::size_t begin = 0; begin <= tasks.size();) {
    const std::size_t comma = std::min(tasks.find(',', begin), tasks.size());
    for (const KeyOwner& owner : owners_in(tasks.substr(begin, comma - begin), tasks)) {
      if (std::ranges::find(owners, owner) != owners.end()) refuse_tasks(tasks, "a job is listed twice");
      owners.push_back(owner);
    }
    begin = comma + 1;
  }
  if (std::ranges::none_of(owners, [](const KeyOwner& owner) { return owner.role == kPs; }))
    refuse_tasks(tasks, "there is no ps");
  require_room(owners.size());
  std::ranges::sort(owners);
  std::vector<KeyFolderPlan> plan;
  for (const KeyOwner& owner : owners) plan.push_back({file_name_of(owner), {owner}, ""});
  plan.push_back({kAdminFolder, {kAdministrator}, ""});
  return plan;
}

std::vector<KeyFolderPlan> plan_of_hosts(const ClusterSpec& cluster) {
  require_room(cluster.ps.size() + cluster.workers.size());
  std::vector<KeyFolderPlan> plan;
  const auto add = [&](const std::vector<HostPort>& tasks, KeyOwner::Role role) {
    for (std::uint32_t index = 0; index < tasks.size(); ++index) {
      if (!is_known(tasks[index])) continue;
      const std::string name = lower_case(tasks[index].host);
      auto folder = std::ranges::find(plan, name, &KeyFolderPlan::name);
      if (folder == plan.end()) {
        require_folder_name(name);
        folder = plan.insert(plan.end(), {name, {}, tasks[index].host});
      }
      folder->owners.push_back({role, index});
    }
  };
  add(cluster.ps, kPs);
  add(cluster.workers, kWorker);
  plan.push_back({kAdminFolder, {kAdministrator}, ""});
  return plan;
}

void write_key_folders(const fs::path& folder, const std::vector<KeyFolderPlan>& plan) {
  TemporaryFolder temporary(real_target(folder));
  Pairs pairs;
  for (const KeyFolderPlan& each : plan) {
    for (const KeyOwner& owner : each.owners) pairs.emplace(owner, make_key_pair());
  }
  for (const KeyFolderPlan& each : plan) {
    if (signal_received()) fail(ExitCode::kInterrupted, "stopped by a signal; no keys were made");
    write_folder(temporary.path() / each.name, each.owners, pairs);
  }
  temporary.move_to_target();
}

ExitCode keygen_command(const Flags& flags) {
  const bool hosts = describes_cluster(flags);
  if (hosts == !flags.files.key_tasks.empty()) {
    fail(ExitCode::kUsage,
         "keygen {}: {} --tasks=ps:2,worker:3 or, if the hosts are known, --cluster or --ps_hosts and --worker_hosts",
         flags.files.key_folder, hosts ? "give either" : "say for which tasks, with");
  }
  const std::vector<KeyFolderPlan> plan =
      hosts ? plan_of_hosts(described_cluster(flags)) : plan_of_tasks(flags.files.key_tasks);
  write_key_folders(flags.files.key_folder, plan);
  const bool has_workers = std::ranges::any_of(plan, [](const KeyFolderPlan& each) {
    return std::ranges::any_of(each.owners, [](const KeyOwner& owner) { return owner.role == kWorker; });
  });
  if (!has_workers) log_warning("there are no keys for workers, so no worker can connect to these ps tasks");
  print_table(flags.files.key_folder, plan);
  return ExitCode::kOk;
}

}  // namespace distmnist
