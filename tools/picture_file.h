// What kind of file something is, by its first bytes, and reading those that are pictures.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "data/picture.h"

namespace distmnist {

enum class PictureFormat { kPng, kJpeg, kIdx, kOther };

struct KnownFile {
  PictureFormat format = PictureFormat::kOther;
  std::string name;  // of kOther: "a GIF", or how it begins
};

// `start`: the first bytes of a file, 512 if it has them, not fewer than one.
KnownFile format_of(std::string_view start);

// The kind of a file; of a .gz file with IDX data in it, kIdx. Error (kData): missing, not readable, a folder, empty.
KnownFile format_of_file(const std::filesystem::path& path);

// Decodes a file that is kPng or kJpeg. Error (kData) names the file: broken, cut off, too large.
Picture read_picture(const std::filesystem::path& path, PictureFormat format);

}  // namespace distmnist
