#include "data/idx.h"

#include <algorithm>
#include <array>
#include <optional>

#include "data/file_kind.h"
#include "data/gzip_reader.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace distmnist {
namespace {

constexpr std::uint8_t kUnsignedByte = 0x08;
constexpr std::uint8_t kMaxLabel = 9;

std::size_t num_dimensions(IdxKind kind) {
  return kind == IdxKind::kImages ? 3 : 1;
}
std::size_t header_bytes(IdxKind kind) {
  return 4 + 4 * num_dimensions(kind);
}
const char* plural(IdxKind kind) {
  return kind == IdxKind::kImages ? "images" : "labels";
}

std::uint32_t big_endian_u32(std::span<const std::uint8_t> bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}

bool is_gzip(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

std::uint32_t magic_of(IdxKind kind) {
  return static_cast<std::uint32_t>(kUnsignedByte << 8 | num_dimensions(kind));
}

// Whether a file that begins with `head` can be of this kind; true if it is truncated within the magic number.
bool begins_like(std::span<const std::uint8_t> head, IdxKind kind) {
  const std::array<std::uint8_t, 4> magic = {0, 0, kUnsignedByte, static_cast<std::uint8_t>(num_dimensions(kind))};
  return std::ranges::equal(head.first(std::min(head.size(), magic.size())),
                            std::span(magic).first(std::min(head.size(), magic.size())));
}

// Reports what a file is instead, or with `packed` what its decompressed data is. `head` is the first kTellingBytes, or
// all of it if shorter.
[[noreturn]] void fail_as_foreign(const std::string& file, std::span<const std::uint8_t> head, IdxKind kind,
                                  bool packed) {
  const auto found = kind_of_file(head);
  const std::string what = found ? found->what : "unknown data";
  const std::string magic =
      head.size() < 4 ? "" : fmt::format("magic number {:#010x} at offset 0, ", big_endian_u32(head));
  const std::string is = packed ? "its gzip data is " + what : what + ", neither gzip nor the IDX data expected here";
  fail(ExitCode::kData, "{}: {} ({}an IDX file of {} has {:#010x}){}", file, is, magic, plural(kind), magic_of(kind),
       found ? ": " + found->advice : "");
}

// `bytes` is the part of the header that the file has.
void check_header_size(const std::string& file, std::span<const std::uint8_t> bytes, IdxKind kind) {
  if (bytes.size() >= header_bytes(kind)) return;
  fail(ExitCode::kData, "{}: {}truncated at offset {}, inside the {}-byte header; fetch the file again", file,
       bytes.empty() ? "the file is empty, " : "", bytes.size(), header_bytes(kind));
}

std::vector<std::int64_t> parse_header(const std::string& file, std::span<const std::uint8_t> bytes, IdxKind kind) {
  check_header_size(file, bytes, kind);
  std::vector<std::int64_t> dimensions;
  std::int64_t total = 1;
  for (std::size_t offset = 4; offset < header_bytes(kind); offset += 4) {
    const std::int64_t dimension = big_endian_u32(bytes.subspan(offset));
    if (dimension == 0)
      fail(ExitCode::kData, "{}: dimension 0 at offset {}: the file holds no {}", file, offset, plural(kind));
    if (dimension > kMaxIdxBytes / total) {
      fail(ExitCode::kData, "{}: dimension {} at offset {} makes more than the {} bytes that are allowed", file,
           dimension, offset, kMaxIdxBytes);
    }
    total *= dimension;
    dimensions.push_back(dimension);
  }
  return dimensions;
}

std::int64_t product(std::span<const std::int64_t> dimensions) {
  std::int64_t total = 1;
  for (const std::int64_t dimension : dimensions) total *= dimension;
  return total;
}

IdxArray read_plain(const std::string& file, std::shared_ptr<const MappedFile> mapped, IdxKind kind) {
  const auto bytes = mapped->bytes();
  const auto head = bytes.first(std::min(bytes.size(), kTellingBytes));
  if (!begins_like(head, kind)) fail_as_foreign(file, head, kind, false);
  IdxArray array;
  array.dimensions = parse_header(file, bytes.first(std::min(bytes.size(), header_bytes(kind))), kind);
  const auto expected = static_cast<std::size_t>(product(array.dimensions)) + header_bytes(kind);
  if (bytes.size() < expected) {
    fail(ExitCode::kData, "{}: truncated at offset {}; its header announces {} bytes", file, bytes.size(), expected);
  }
  if (bytes.size() > expected) {
    fail(ExitCode::kData, "{}: {} unexpected bytes after the data, from offset {}", file, bytes.size() - expected,
         expected);
  }
  array.data = bytes.subspan(header_bytes(kind));
  array.owner = mapped;
  array.mapped = std::move(mapped);
  return array;
}

// The first bytes of the data, of which `have` has already been read.
std::vector<std::uint8_t> read_head(GzipReader& reader, std::span<const std::uint8_t> have) {
  std::vector<std::uint8_t> head(have.begin(), have.end());
  head.resize(kTellingBytes);
  try {
    head.resize(have.size() + reader.read(std::span(head).subspan(have.size())));
  } catch (const Error&) {
    head.resize(have.size());  // Not IDX, and damaged as well: the kind of file matters more.
  }
  return head;
}

// Decompresses directly into the final buffer. A header cannot request more than the compressed bytes could produce,
// and the system allocates the buffer's pages only as they are filled.
IdxArray read_gzip(const std::filesystem::path& path, std::int64_t compressed_bytes, IdxKind kind) {
  GzipReader reader(path);
  std::array<std::uint8_t, 16> header;
  const auto have = std::span(header).first(reader.read(std::span(header).first(header_bytes(kind))));
  if (!begins_like(have, kind)) fail_as_foreign(path.string(), read_head(reader, have), kind, true);
  IdxArray array;
  array.dimensions = parse_header(path.string(), have, kind);
  const std::int64_t expected = product(array.dimensions);
  if (expected / GzipReader::kMaxExpansion > compressed_bytes) {
    fail(ExitCode::kData,
         "{}: truncated at compressed offset {}; its header announces {} bytes, more than so little data can hold",
         path.string(), compressed_bytes, expected);
  }
  const auto size = static_cast<std::size_t>(expected);
  const std::shared_ptr<std::uint8_t[]> buffer = std::make_shared_for_overwrite<std::uint8_t[]>(size);
  const std::size_t filled = reader.read({buffer.get(), size});
  if (filled < size) {
    fail(ExitCode::kData, "{}: truncated at decompressed offset {}; its header announces {} bytes", path.string(),
         filled + header_bytes(kind), size + header_bytes(kind));
  }
  // Requesting one more byte also makes the reader verify the checksum at the end.
  if (std::uint8_t extra; reader.read({&extra, 1}) > 0) {
    fail(ExitCode::kData, "{}: unexpected bytes after the data, from decompressed offset {}", path.string(),
         size + header_bytes(kind));
  }
  array.data = {buffer.get(), size};
  array.owner = buffer;
  return array;
}

void check_labels(const std::string& file, std::span<const std::uint8_t> labels) {
  const auto bad = std::ranges::find_if(labels, [](std::uint8_t label) { return label > kMaxLabel; });
  if (bad == labels.end()) return;
  const auto index = bad - labels.begin();
  fail(ExitCode::kData, "{}: label {} of item {} at offset {} is above {}", file, *bad, index,
       static_cast<std::size_t>(index) + header_bytes(IdxKind::kLabels), kMaxLabel);
}

}  // namespace

IdxArray read_idx(const std::filesystem::path& path, IdxKind kind, Trust trust) {
  auto mapped = std::make_shared<const MappedFile>(path, trust);
  const auto size_bytes = static_cast<std::int64_t>(mapped->bytes().size());
  IdxArray array =
      is_gzip(mapped->bytes()) ? read_gzip(path, size_bytes, kind) : read_plain(path.string(), std::move(mapped), kind);
  if (kind == IdxKind::kLabels) check_labels(path.string(), array.data);
  return array;
}

std::vector<std::uint8_t> idx_header(std::span<const std::int64_t> dimensions) {
  std::vector<std::uint8_t> header = {0, 0, kUnsignedByte, static_cast<std::uint8_t>(dimensions.size())};
  for (const std::int64_t dimension : dimensions) {
    for (int shift = 24; shift >= 0; shift -= 8) header.push_back(static_cast<std::uint8_t>(dimension >> shift));
  }
  return header;
}

void write_idx(const std::filesystem::path& path, std::span<const std::int64_t> dimensions,
               std::span<const std::uint8_t> data) {
  const std::vector<std::uint8_t> header = idx_header(dimensions);
  AtomicFile file(path, 0644);
  file.write(std::as_bytes(std::span(header)));
  file.write(std::as_bytes(data));
  file.commit();
}

}  // namespace distmnist
