// What a file is that is not the IDX file it should be, told by its first bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace distmnist {

// As many bytes of a file tell all kinds apart; fewer tell fewer.
inline constexpr std::size_t kTellingBytes = 512;

struct FileKind {
  std::string what;    // "a page of HTML"
  std::string advice;  // "a failed download; fetch the file again"
};

// Of the first bytes of a file, or of what it holds compressed: a page of an error, text, an archive, a picture,
// another format of numbers, IDX data of another kind. Nothing where it is none that we know.
std::optional<FileKind> kind_of_file(std::span<const std::uint8_t> head);

}  // namespace distmnist
