#include "data/mnist_files.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/folder.h"
#include "lib/base/join.h"
#include "lib/base/lower_case.h"

namespace distmnist {
namespace {

namespace fs = std::filesystem;

// The subfolders to search; torchvision uses MNIST/raw inside the folder it is given.
constexpr std::array<std::string_view, 3> kPlaces = {"", "MNIST/raw", "raw"};
constexpr std::string_view kPacked = ".gz";

bool is_packed(std::string_view name) {
  return lower_case(name).ends_with(kPacked);
}

struct FoundFile {
  MnistRole role;
  std::size_t place;  // index in kPlaces
  bool in_folder_of_its_name;
  bool packed;
  bool unusual_name;
  std::string path;
};

std::optional<FoundFile> classify(const std::string& path) {
  const fs::path whole(path);
  const std::string name = whole.filename().string();
  const auto role = role_of(name);
  if (!role) return std::nullopt;
  fs::path folder = whole.parent_path();
  const bool in_folder_of_its_name = role_of(folder.filename().string()) == role;
  if (in_folder_of_its_name) folder = folder.parent_path();
  const auto place = std::ranges::find(kPlaces, folder.string());
  if (place == kPlaces.end()) return std::nullopt;
  const bool packed = is_packed(name);
  const std::string usual = std::string(kMnistNames[*role]) + (packed ? std::string(kPacked) : "");
  return FoundFile{
      *role, static_cast<std::size_t>(place - kPlaces.begin()), in_folder_of_its_name, packed, name != usual, path};
}

std::string join_path(std::string_view folder, const std::string& name) {
  return folder.empty() ? name : std::string(folder) + "/" + name;
}

struct Gathered {
  std::vector<std::string> files;      // relative to the folder that is searched
  std::vector<std::string> obstacles;  // why folders could not be listed
};

// Adds the files in dir/place, and in its subfolders that are named like an MNIST file.
void gather(const fs::path& dir, const std::string& place, bool go_down, Gathered& gathered) {
  std::error_code error;
  const fs::file_status status = fs::status(dir / place, error);
  if (status.type() != fs::file_type::directory && status.type() != fs::file_type::none) return;
  const fs::path folder = place.empty() ? dir : dir / place;
  try {
    for (const FolderEntry& entry : list_folder(folder)) {
      const std::string path = join_path(place, entry.name);
      if (entry.kind != EntryKind::kFolder) {
        gathered.files.push_back(path);
      } else if (go_down && role_of(entry.name)) {
        gather(dir, path, false, gathered);
      }
    }
  } catch (const Error& problem) {
    gathered.obstacles.emplace_back(problem.what());
    // In a folder that can be entered but not listed, files can still be opened by known names.
    for (const char* name : kMnistNames) {
      for (const std::string& file : {std::string(name), name + std::string(kPacked)}) {
        if (fs::exists(folder / file, error)) gathered.files.push_back(join_path(place, file));
      }
    }
  }
}

void require_folder(const fs::path& name) {
  const fs::path dir = without_slash(name);
  require_open(dir);
  std::error_code error;
  const fs::file_status status = fs::status(dir, error);
  if (fs::is_directory(status)) return;
  if (fs::exists(status)) {
    fail(ExitCode::kData, "{} is a file, not a folder; name the folder that it is in: --data_dir {}", dir.string(),
         parent_folder(dir).string());
  }
  const auto target = broken_link(dir);
  fail(ExitCode::kData,
       "{}: there is no such folder{}; to download MNIST to it: distmnist --download_only --data_dir {}", dir.string(),
       target ? ", but a link to " + target->string() + ", which does not exist" : "", dir.string());
}

bool has_all(const MnistCandidates& candidates) {
  return std::ranges::none_of(candidates, [](const auto& files) { return files.empty(); });
}

bool looks_like_mnist(const std::string& name) {
  constexpr std::array<std::string_view, 10> kWords = {"idx",    "ubyte",  "mnist", "train", "t10k",
                                                       "images", "labels", ".zip",  ".tar",  ".tgz"};
  const std::string lower = lower_case(name);
  return std::ranges::any_of(kWords, [&](std::string_view word) { return lower.find(word) != lower.npos; });
}

// "notes.txt", "raw/", "train-images-idx3-ubyte/ (a folder with a.bin, b.bin)", "x (a broken link)"
std::string describe_entry(const fs::path& dir, const FolderEntry& entry) {
  if (entry.kind == EntryKind::kDanglingLink) return entry.name + " (a broken link)";
  if (entry.kind == EntryKind::kFile) return entry.name;
  if (!role_of(entry.name)) return entry.name + "/";
  std::vector<std::string> inside;
  for (const FolderEntry& file : list_folder(dir / entry.name)) inside.push_back(file.name);
  return fmt::format("{}/ (a folder with {})", entry.name, inside.empty() ? "nothing in it" : join(inside, ", "));
}

// ", and DIR/x has all four files: --data_dir DIR/x", for the first such folder.
std::string folder_with_all(const fs::path& dir, const std::vector<FolderEntry>& entries) {
  for (const FolderEntry& entry : entries) {
    if (entry.kind != EntryKind::kFolder) continue;
    try {
      if (!has_all(look_for_mnist(dir / entry.name).files)) continue;
    } catch (const Error&) {
      continue;
    }
    const std::string folder = (dir / entry.name).string();
    return fmt::format(", and {} has all four files: --data_dir {}", folder, folder);
  }
  return "";
}

}  // namespace

std::optional<MnistRole> role_of(std::string_view name) {
  std::string lower = lower_case(name);
  if (lower.ends_with(kPacked)) lower.resize(lower.size() - kPacked.size());
  if (const auto dot = lower.find(".idx"); dot != lower.npos) lower[dot] = '-';
  const auto found = std::ranges::find(kMnistNames, lower);
  if (found == kMnistNames.end()) return std::nullopt;
  return static_cast<MnistRole>(found - kMnistNames.begin());
}

MnistCandidates choose_mnist_files(std::span<const std::string> files) {
  std::vector<FoundFile> all;
  std::array<std::array<bool, kMnistRoles>, kPlaces.size()> has{};
  for (const std::string& path : files) {
    auto found = classify(path);
    if (!found) continue;
    has[found->place][found->role] = true;
    all.push_back(*std::move(found));
  }
  const auto rank = [&](const FoundFile& found) {
    const bool incomplete = std::ranges::find(has[found.place], false) != has[found.place].end();
    return std::tuple(incomplete, found.place, found.packed, found.in_folder_of_its_name, found.unusual_name,
                      found.path);
  };
  std::ranges::sort(all, {}, rank);
  MnistCandidates candidates;
  for (FoundFile& found : all) candidates[found.role].push_back(std::move(found.path));
  return candidates;
}

MnistFolder look_for_mnist(const fs::path& dir) {
  require_folder(dir);
  MnistFolder folder;
  Gathered gathered;
  for (const std::string_view place : kPlaces) gather(dir, std::string(place), true, gathered);
  folder.obstacles = std::move(gathered.obstacles);
  folder.files = choose_mnist_files(gathered.files);
  for (auto& paths : folder.files) {
    for (std::string& path : paths) path = (dir / path).string();
  }
  return folder;
}

std::string what_lies_in(const fs::path& dir) {
  constexpr std::size_t kShown = 5;
  std::vector<FolderEntry> entries = list_folder(dir);
  if (entries.empty()) return "it is empty";
  const std::string with_all = folder_with_all(dir, entries);
  std::ranges::stable_partition(entries, [](const FolderEntry& entry) { return looks_like_mnist(entry.name); });
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < std::min(kShown, entries.size()); ++i) shown.push_back(describe_entry(dir, entries[i]));
  const std::string more = entries.size() > kShown ? fmt::format(" and {} more", entries.size() - kShown) : "";
  return "it holds " + join(shown, ", ") + more + with_all;
}

}  // namespace distmnist
