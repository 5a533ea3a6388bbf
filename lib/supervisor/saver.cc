#include "lib/supervisor/saver.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <string_view>
#include <system_error>

#include "lib/base/counted.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/folder.h"
#include "lib/base/log.h"
#include "lib/supervisor/checkpoint.h"

namespace distmnist {
namespace {

constexpr std::string_view kPrefix = "model.ckpt-";
constexpr std::string_view kSuffix = ".safetensors";
constexpr std::string_view kStateFile = "checkpoint";

// The step in `name`, if checkpoint_name could have produced exactly that name.
std::optional<std::int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  std::int64_t step = 0;
  const auto error = std::from_chars(name.data(), name.data() + name.size(), step).ec;
  if (error != std::errc() || step < 0) return std::nullopt;
  if (fmt::format("{}{}", step, kSuffix) != name) return std::nullopt;
  return step;
}

// The text that TensorFlow writes (CheckpointState), oldest first.
std::string state_text(const std::vector<CheckpointFile>& newest_first) {
  std::string text = fmt::format("model_checkpoint_path: \"{}\"\n", newest_first.front().path.filename().string());
  for (auto file = newest_first.rbegin(); file != newest_first.rend(); ++file) {
    text += fmt::format("all_model_checkpoint_paths: \"{}\"\n", file->path.filename().string());
  }
  return text;
}

ModelSnapshot read_named_checkpoint(const CheckpointFile& file) {
  ModelSnapshot snapshot = read_checkpoint(file.path);
  if (snapshot.global_step != file.global_step) {
    fail(ExitCode::kData, "{}: holds global_step {}, which is not the one in its name", file.path.string(),
         snapshot.global_step);
  }
  return snapshot;
}

// Newest first. Errors of list_folder.
std::vector<CheckpointFile> checkpoints_in(const std::filesystem::path& folder) {
  std::vector<CheckpointFile> files;
  for (const FolderEntry& entry : list_folder(folder)) {
    if (const auto step = step_of(entry.name)) files.push_back({*step, folder / entry.name});
  }
  std::ranges::sort(files, std::greater<>(), &CheckpointFile::global_step);
  return files;
}

// A sentence that says why `log_dir` has no checkpoint, and where one is.
std::string why_no_checkpoint(const std::filesystem::path& log_dir) {
  std::error_code ignored;
  if (const auto target = broken_link(log_dir)) return "it is a link to " + target->string() + ", which does not exist";
  if (!std::filesystem::exists(log_dir, ignored)) return "there is no such folder";
  std::string runs;
  for (const FolderEntry& entry : list_folder(log_dir)) {
    const std::filesystem::path path = log_dir / entry.name;
    if (entry.kind == EntryKind::kFolder && !list_checkpoints(path).empty()) runs = path.string();  // the last by name
  }
  return runs.empty() ? "give the run folder of worker 0, which saves the checkpoints"
                      : "there are checkpoints in " + runs;
}

}  // namespace

std::string checkpoint_name(std::int64_t global_step) {
  return fmt::format("{}{}{}", kPrefix, global_step, kSuffix);
}

std::vector<CheckpointFile> list_checkpoints(const std::filesystem::path& folder) {
  try {
    return checkpoints_in(folder);
  } catch (const Error&) {
    return {};
  }
}

std::optional<RestoredCheckpoint> read_newest_checkpoint(const std::filesystem::path& folder) {
  require_open(folder);
  std::error_code ignored;
  if (!std::filesystem::exists(folder, ignored)) return std::nullopt;
  std::vector<std::filesystem::path> broken;
  for (const CheckpointFile& file : checkpoints_in(folder)) {
    try {
      return RestoredCheckpoint{read_named_checkpoint(file), file.path, std::move(broken)};
    } catch (const Error& error) {
      if (error.code() != ExitCode::kData) throw;
      if (!std::filesystem::exists(std::filesystem::symlink_status(file.path))) continue;  // removed by a running saver
      log_warning("skipped a broken checkpoint: {}", error.what());
      broken.push_back(file.path);
    }
  }
  if (broken.empty()) return std::nullopt;
  fail(ExitCode::kData,
       "{} in {}, but none is valid (the warnings above say why); restore one from a copy, or train with --fresh, "
       "which moves them aside and starts over",
       counted(static_cast<std::int64_t>(broken.size()), "checkpoint"), folder.string());
}

RestoredCheckpoint read_named_run(const std::filesystem::path& name) {
  const std::filesystem::path log_dir = without_slash(name);
  require_open(log_dir);
  std::error_code ignored;
  if (std::filesystem::is_regular_file(log_dir, ignored)) return {read_checkpoint(log_dir), log_dir, {}};
  auto newest = read_newest_checkpoint(log_dir);
  if (newest) return *std::move(newest);
  fail(ExitCode::kData, "{} has no checkpoint (model.ckpt-*.safetensors): {}", log_dir.string(),
       why_no_checkpoint(log_dir));
}

Saver::Saver(std::filesystem::path folder, int max_to_keep) : folder_(std::move(folder)), max_to_keep_(max_to_keep) {
  if (max_to_keep < 0) fail(ExitCode::kUsage, "--max_to_keep={}: give 0 (keep all) or more", max_to_keep);
  remove_stale_temporaries(folder_);
}

std::filesystem::path Saver::save(const ModelSnapshot& snapshot,
                                  const std::function<void(const std::filesystem::path&)>& saved) {
  const std::filesystem::path path = folder_ / checkpoint_name(snapshot.global_step);
  write_checkpoint(path, snapshot);
  broken_.erase(path);
  if (saved) saved(path);

  const std::vector<CheckpointFile> kept = choose_kept(snapshot.global_step);
  try {
    write_text_file(folder_ / kStateFile, state_text(kept));
  } catch (const Error& error) {
    log_warning("saved {}, but {}", path.string(), error.what());
  }
  if (max_to_keep_ > 0 && kept.size() == static_cast<std::size_t>(max_to_keep_)) remove_before(kept.back().global_step);
  return path;
}

// Files of later steps than the saved one are from a future that this run abandoned: they were broken, so the run
// resumed from an older one. They are neither counted nor removed.
std::vector<CheckpointFile> Saver::choose_kept(std::int64_t newest_step) const {
  std::vector<CheckpointFile> kept = {{newest_step, folder_ / checkpoint_name(newest_step)}};
  for (CheckpointFile& file : list_checkpoints(folder_)) {
    if (file.global_step >= newest_step || broken_.contains(file.path)) continue;
    if (max_to_keep_ == 0 || kept.size() < static_cast<std::size_t>(max_to_keep_)) kept.push_back(std::move(file));
  }
  return kept;
}

void Saver::remove_before(std::int64_t oldest_kept_step) const {
  for (const CheckpointFile& file : list_checkpoints(folder_)) {
    if (file.global_step >= oldest_kept_step) continue;
    std::error_code error;
    std::filesystem::remove(file.path, error);
    if (error) log_warning("cannot remove the old checkpoint {}: {}", file.path.string(), error.message());
  }
}

std::optional<ModelSnapshot> Saver::restore_newest(const ModelIdentity& flags) {
  auto restored = read_newest_checkpoint(folder_);
  if (!restored) return std::nullopt;
  require_same_model(restored->snapshot, flags, restored->path);
  broken_.insert(restored->broken.begin(), restored->broken.end());
  return std::move(restored->snapshot);
}

}  // namespace distmnist
