// File kind: recognises, from its first bytes, a file that is not the expected IDX file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace distmnist {

// This many bytes distinguish all kinds; fewer bytes distinguish fewer.
inline constexpr std::size_t kTellingBytes = 512;

struct FileKind {
  std::string what;    // "a page of HTML"
  std::string advice;  // "a failed download; fetch the file again"
};

// Classifies the first bytes of a file, or of its decompressed contents: an error page, text, an archive, a picture, a
// different numeric format, or IDX data of a different kind. Nothing if unknown.
std::optional<FileKind> kind_of_file(std::span<const std::uint8_t> head);

}  // namespace distmnist
