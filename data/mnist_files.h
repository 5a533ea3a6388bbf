// MNIST files: finds the four MNIST files in a folder, under all names used by archives and downloads. docs/data.md has
// the rules.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace distmnist {

enum MnistRole { kTrainImages, kTrainLabels, kTestImages, kTestLabels };
inline constexpr std::size_t kMnistRoles = 4;
inline constexpr std::array<const char*, kMnistRoles> kMnistNames = {
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

// The role given by a file's name. It may be any name in kMnistNames, with '-' or '.' before idx, in upper or lower
// case, with or without .gz.
std::optional<MnistRole> role_of(std::string_view name);

// The candidate files for each role, best first.
using MnistCandidates = std::array<std::vector<std::string>, kMnistRoles>;

// `files` are paths relative to the folder, such as "MNIST/raw/train-images-idx3-ubyte.gz". A file counts if its name
// has a role and it is in the folder itself, in MNIST/raw or in raw, or in a folder there that is named like the file.
// The candidates are sorted by: places that have all four roles first, then the order of places above, then plain
// before .gz, then files before those in folders with their name, then the names in kMnistNames before others, then
// alphabetically.
MnistCandidates choose_mnist_files(std::span<const std::string> files);

struct MnistFolder {
  MnistCandidates files;               // full paths
  std::vector<std::string> obstacles;  // messages about folders that could not be read
};

// Searches `dir` and the places above. Error (kData): `dir` is missing, is a file, or cannot be read.
MnistFolder look_for_mnist(const std::filesystem::path& dir);

// The contents of `dir`, for a message about missing files: "it holds emnist.zip, notes/ and 3 more". Names that look
// like MNIST come first, and a subfolder with all four files is mentioned.
std::string what_lies_in(const std::filesystem::path& dir);

}  // namespace distmnist
