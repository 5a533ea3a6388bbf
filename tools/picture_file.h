// Picture files: detects the type of a file from its first bytes, and reads pictures.
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
  std::string name;  // for kOther: "a GIF", or the first bytes
};

// `start`: the first 512 bytes of a file, or all of them if it is shorter; at least one.
KnownFile format_of(std::string_view start);

// The type of a file; kIdx for a .gz file that contains IDX data. Error (kData): missing, unreadable, a folder, or
// empty.
KnownFile format_of_file(const std::filesystem::path& path);

// Decodes a kPng or kJpeg file. Error (kData) names the file: damaged, truncated or too large.
Picture read_picture(const std::filesystem::path& path, PictureFormat format);

}  // namespace distmnist
