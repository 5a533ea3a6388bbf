// Which files of a folder are the four of MNIST, under all the names that unpackers and downloads give them. The rules
// are in docs/data.md.
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

// The role that a file's name says: its name in kMnistNames, with '-' or '.' before idx, in upper or lower case, with
// or without .gz.
std::optional<MnistRole> role_of(std::string_view name);

// For each role the files that may be it, best first.
using MnistCandidates = std::array<std::vector<std::string>, kMnistRoles>;

// `files` are paths relative to the folder, "MNIST/raw/train-images-idx3-ubyte.gz". A file counts where its name says
// its role, in the folder itself, in MNIST/raw or in raw, or there in a folder that is named like the file. Of several,
// the order is: places that have all four roles, then the order of places just given, then plain before .gz, then files
// before those in folders of their names, then the names in kMnistNames before others, then the alphabet.
MnistCandidates choose_mnist_files(std::span<const std::string> files);

struct MnistFolder {
  MnistCandidates files;               // whole paths
  std::vector<std::string> obstacles;  // sentences about folders on the way that cannot be looked into
};

// Looks into `dir` and the places above. Error (kData): `dir` is missing, is a file, or cannot be looked into.
MnistFolder look_for_mnist(const std::filesystem::path& dir);

// What is in `dir`, for a message about missing files: "it holds emnist.zip, notes/ and 3 more", with the names that
// look like MNIST first, and a folder in it that has all four files.
std::string what_lies_in(const std::filesystem::path& dir);

}  // namespace distmnist
