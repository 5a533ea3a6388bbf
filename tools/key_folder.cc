#include "tools/key_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/folder.h"
#include "lib/base/join.h"
#include "lib/base/log.h"
#include "lib/wire/key_file.h"
#include "lib/wire/transport.h"

namespace distmnist {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kOthersRead = S_IRGRP | S_IROTH;
constexpr mode_t kOthersWrite = S_IWGRP | S_IWOTH;

// Every problem with --keys has the same exit code: a run that should be secure must not start.
[[noreturn]] void refuse(const std::string& what) {
  fail(ExitCode::kSecurity, "--keys: {}", what);
}

// Returns the result of `action`; its errors about files are reported as errors about keys.
template <class Action>
auto held_against_keys(const Action& action) {
  try {
    return action();
  } catch (const Error& error) {
    if (error.code() != ExitCode::kData) throw;
    refuse(error.what());
  }
}

// The owner of a file can change it, so it must be this user or root. Root itself may use any user's files.
void require_owner(const fs::path& path, const struct stat& status) {
  if (status.st_uid == geteuid() || status.st_uid == 0 || geteuid() == 0) return;
  refuse(fmt::format("{} belongs to another user (uid {}); use your own keys", path.string(), status.st_uid));
}

// `forbidden`: the permissions that others must not have; `cure`: the command that removes them.
void require_private(const fs::path& path, const struct stat& status, mode_t forbidden, std::string_view cure) {
  require_owner(path, status);
  const mode_t open = status.st_mode & forbidden;
  if (open == 0) return;
  refuse(fmt::format("{} can be {} by others (mode {:04o}); make it private with {} {}", path.string(),
                     (open & kOthersWrite) != 0 ? "written" : "read", status.st_mode & 07777, cure, path.string()));
}

struct stat require_folder(const fs::path& folder) {
  struct stat status;
  if (stat(folder.c_str(), &status) != 0) {
    const int error = errno;
    if (error == EACCES) held_against_keys([&] { require_open(folder); });
    refuse(fmt::format("cannot look into {}: {}; make a folder of keys with distmnist keygen", folder.string(),
                       errno_text(error)));
  }
  if (!S_ISDIR(status.st_mode)) {
    refuse(fmt::format("{} is not a folder; name the folder that distmnist keygen made", folder.string()));
  }
  return status;
}

void require_private_folder(const fs::path& folder) {
  const struct stat status = require_folder(folder);
  require_private(folder, status, kOthersRead | kOthersWrite, "chmod 700");
}

// Checks the folder of a symbolic link's target, because a user who can write there could replace the file.
void require_private_target(const fs::path& file) {
  std::error_code error;
  const fs::path target = fs::canonical(file, error);
  if (error || !fs::is_symlink(file, error)) return;
  require_private_folder(parent_folder(target));
}

// Reads a key file after checking that no other user has access.
KeyFile read_key_file(const fs::path& path, mode_t forbidden, std::string_view cure) {
  const InputFile file = held_against_keys([&] { return open_for_reading(path); });
  struct stat status;
  if (fstat(file.fd.get(), &status) != 0) refuse(fmt::format("cannot read {}: {}", path.string(), errno_text(errno)));
  require_private(path, status, forbidden, cure);
  if (file.size_bytes > kMaxKeyFileBytes) {
    refuse(fmt::format("{} has {} bytes and is not a key file; make key files with distmnist keygen", path.string(),
                       file.size_bytes));
  }
  SecretText text(std::string(file.size_bytes, '\0'));
  held_against_keys([&] { read_at(file, path, 0, std::as_writable_bytes(std::span(text.text))); });
  KeyFile keys = read_key_text(text.text);
  if (!keys.fault.empty()) {
    refuse(fmt::format("{} {}; copy it again, or make new keys with distmnist keygen", path.string(), keys.fault));
  }
  return keys;
}

KeyPair read_secret(const fs::path& path) {
  require_private_target(path);
  const KeyFile keys = read_key_file(path, kOthersRead | kOthersWrite, "chmod 600");
  if (!keys.has_secret) refuse(fmt::format("{} has no secret-key; copy the secret file of this task", path.string()));
  if (public_key_of(keys.pair.secret_key) != keys.pair.public_key) {
    refuse(
        fmt::format("the two keys in {} do not belong together; make new keys with distmnist keygen", path.string()));
  }
  return keys.pair;
}

Key read_public(const fs::path& path) {
  require_private_target(path);
  const KeyFile keys = read_key_file(path, kOthersWrite, "chmod go-w");
  if (keys.has_secret) {
    refuse(
        fmt::format("{} has a secret-key in it, but every task is given this file; make new keys with distmnist keygen",
                    path.string()));
  }
  if (!is_usable(keys.pair.public_key)) {
    refuse(fmt::format("the key in {} is not a valid key; make new keys with distmnist keygen", path.string()));
  }
  return keys.pair.public_key;
}

std::string secret_name(const KeyOwner& owner) {
  return file_name_of(owner) + std::string(kSecretSuffix);
}

std::string public_name(const KeyOwner& owner) {
  return file_name_of(owner) + std::string(kPublicSuffix);
}

std::vector<FolderEntry> entries_of(const fs::path& folder) {
  return held_against_keys([&] { return list_folder(folder); });
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() != fs::file_type::not_found && !ignored;
}

// "ps-0, worker-1": the owners of the secrets in a folder, for users who named the wrong one.
std::string secrets_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const FolderEntry& entry : entries_of(folder)) {
    const std::string_view name = entry.name;
    if (name.ends_with(kSecretSuffix)) names.emplace_back(name.substr(0, name.size() - kSecretSuffix.size()));
  }
  return names.empty() ? "" : fmt::format(" (it has the secret of {})", join(names, ", "));
}

// The folder with the secret of `self`: the given one or a subfolder.
fs::path find_folder(const fs::path& folder, const KeyOwner& self) {
  const std::string name = secret_name(self);
  if (is_there(folder / name)) return folder;
  std::vector<std::string> found;
  for (const FolderEntry& entry : entries_of(folder)) {
    if (entry.kind == EntryKind::kFolder && is_there(folder / entry.name / name)) found.push_back(entry.name);
  }
  if (found.empty()) {
    refuse(fmt::format("{} is neither in {}{} nor in a folder inside it; name the folder with the key of {}", name,
                       folder.string(), secrets_in(folder), self.to_string()));
  }
  if (found.size() > 1) {
    refuse(fmt::format("{} is in {} of {}; name one of these folders", name, join(found, " and "), folder.string()));
  }
  return folder / found.front();
}

// All public keys in a folder. Files that are not named after a task are ignored.
std::map<KeyOwner, Key> read_public_keys(const fs::path& folder) {
  std::map<KeyOwner, Key> known;
  std::map<Key, KeyOwner> owners;
  for (const FolderEntry& entry : entries_of(folder)) {
    const std::string_view name = entry.name;
    if (!name.ends_with(kPublicSuffix)) continue;
    const auto owner = owner_of(name.substr(0, name.size() - kPublicSuffix.size()));
    if (!owner) continue;
    const Key key = read_public(folder / entry.name);
    known[*owner] = key;
    if (const auto [other, is_new] = owners.emplace(key, *owner); !is_new) {
      refuse(fmt::format(
          "{} and {} in {} are the same key, so one task could pose as the other; make new keys with distmnist keygen",
          public_name(other->second), public_name(*owner), folder.string()));
    }
  }
  return known;
}

void say_where_from(const TaskKeys& keys) {
  log_info("keys from {}: what is sent is encrypted, and only tasks with a key of this cluster are accepted",
           keys.folder.string());
}

Key key_of(const TaskKeys& keys, const KeyOwner& owner) {
  const auto found = keys.known.find(owner);
  if (found == keys.known.end()) {
    refuse(
        fmt::format("{}, the public key of {}, is not in {} with the others; copy it there, or make new keys with "
                    "distmnist keygen",
                    public_name(owner), owner.to_string(), keys.folder.string()));
  }
  return found->second;
}

}  // namespace

TaskKeys read_task_keys(const fs::path& named, const KeyOwner& self) {
  if (named.empty()) refuse("the name of the folder is empty; name the one that distmnist keygen made");
  require_crypto();
  require_folder(named);
  const fs::path folder = find_folder(named, self);  // Comes first: a folder without keys need not be private.
  require_private_folder(named);
  if (folder != named) require_private_folder(folder);
  TaskKeys keys{folder, read_secret(folder / secret_name(self)), read_public_keys(folder)};
  for (const auto& [owner, key] : keys.known) {
    if ((owner == self) == (key == keys.own.public_key)) continue;
    refuse(
        owner == self
            ? fmt::format("{} does not match {} in {}; copy both again", public_name(self), secret_name(self),
                          folder.string())
            : fmt::format(
                  "{} in {} is the key of {}, so one task could pose as the other; make new keys with distmnist keygen",
                  public_name(owner), folder.string(), self.to_string()));
  }
  return keys;
}

ServerKeys server_keys(const fs::path& folder, std::uint32_t index, const ClusterSpec& cluster, bool any_worker) {
  using enum KeyOwner::Role;
  const TaskKeys keys = read_task_keys(folder, {kPs, index});
  say_where_from(keys);
  ServerKeys out{keys.own, {}};
  for (std::uint32_t worker = 0; worker < cluster.workers.size(); ++worker) {
    const KeyOwner owner{kWorker, worker};
    if (is_known(cluster.workers[worker])) out.known[key_of(keys, owner)] = owner;
  }
  for (const auto& [owner, key] : keys.known) {
    if (owner.role == kAdmin || (any_worker && owner.role == kWorker)) out.known[key] = owner;
  }
  return out;
}

std::vector<ClientKeys> client_keys(const fs::path& folder, const KeyOwner& self, std::size_t num_ps) {
  require_curve();
  const TaskKeys keys = read_task_keys(folder, self);
  if (self.role != KeyOwner::Role::kAdmin) say_where_from(keys);
  std::vector<ClientKeys> out;
  for (std::uint32_t ps = 0; ps < num_ps; ++ps) out.push_back({keys.own, key_of(keys, {KeyOwner::Role::kPs, ps})});
  return out;
}

}  // namespace distmnist
