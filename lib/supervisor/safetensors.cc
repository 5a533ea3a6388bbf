#include "lib/supervisor/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <functional>
#include <numeric>
#include <optional>

#include "data/file_kind.h"
#include "lib/base/bytes.h"
#include "lib/math/crc32c.h"

namespace distmnist {
namespace {

static_assert(std::endian::native == std::endian::little,
              "tensors are little-endian and are written as they lie in memory");

constexpr std::size_t kReadChunkBytes = 1 << 20;
constexpr std::string_view kDataChecksum = "crc32c_data";
constexpr std::string_view kHeaderChecksum = "crc32c_header";
constexpr std::string_view kHeaderChecksumText = "\"crc32c_header\":\"";  // the text before the digits
constexpr std::string_view kNoDigits = "00000000";

// Lower case only, also when comparing: 'a' and 'A' differ in one bit, so accepting both would miss an error.
std::string hex(std::uint32_t checksum) {
  return fmt::format("{:08x}", checksum);
}

// The position of the digits of the header's own checksum. Quotes inside a JSON string are escaped, so the text can
// only match a key. A header that does not contain it exactly once was not written by this program.
std::optional<std::size_t> header_checksum_position(std::string_view header) {
  const auto at = header.find(kHeaderChecksumText);
  if (at == header.npos || header.find(kHeaderChecksumText, at + 1) != header.npos) return std::nullopt;
  const auto digits = at + kHeaderChecksumText.size();
  if (header.size() - digits < kNoDigits.size()) return std::nullopt;
  return digits;
}

// The checksum of the length word and the header, with the eight digits at `digits` replaced by zeros.
std::uint32_t checksum_of_header(std::string_view header, std::size_t digits) {
  std::uint32_t crc = crc32c(to_little_endian(static_cast<std::uint64_t>(header.size())));
  crc = crc32c(bytes_of(header.substr(0, digits)), crc);
  crc = crc32c(bytes_of(kNoDigits), crc);
  return crc32c(bytes_of(header.substr(digits + kNoDigits.size())), crc);
}

// A file without a plausible length at its start may be of another known kind.
void require_no_other_kind(const InputFile& file, const std::filesystem::path& path) {
  std::vector<std::uint8_t> head(std::min<std::uint64_t>(file.size_bytes, kTellingBytes));
  read_at(file, path, 0, std::as_writable_bytes(std::span(head)));
  if (const auto kind = kind_of_file(head)) {
    fail(ExitCode::kData, "{}: {}, not a safetensors file", path.string(), kind->what);
  }
}

// Reads the text of a valid header, which also gives the start of the data.
std::string read_header_text(const InputFile& file, const std::filesystem::path& path) {
  if (file.size_bytes < kLengthWordBytes) {
    fail(ExitCode::kData, "{}: only {} bytes, but a safetensors file begins with 8 bytes for the length of its header",
         path.string(), file.size_bytes);
  }
  std::array<std::byte, kLengthWordBytes> word;
  read_at(file, path, 0, word);
  const auto length = from_little_endian<std::uint64_t>(word);
  if (length > kMaxHeaderBytes) require_no_other_kind(file, path);
  if (length > kMaxHeaderBytes || length > file.size_bytes - kLengthWordBytes) {
    fail(ExitCode::kData, "{}: a header of {} bytes at offset 0, in a file of {} bytes; truncated or not safetensors",
         path.string(), length, file.size_bytes);
  }
  std::string text(length, '\0');
  read_at(file, path, kLengthWordBytes, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace

SafetensorsReader::SafetensorsReader(const std::filesystem::path& path)
    : path_(path), file_(open_for_reading(path)), header_text_(read_header_text(file_, path)) {
  const std::uint64_t data_size = file_.size_bytes - kLengthWordBytes - header_text_.size();
  header_ = parse_safetensors_header(header_text_, data_size, path.string());
  for (const TensorInfo& tensor : header_.tensors) by_name_[tensor.name] = &tensor;
}

const TensorInfo* SafetensorsReader::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

void SafetensorsReader::read(const TensorInfo& tensor, std::span<std::byte> bytes) const {
  assert(bytes.size() == tensor.size_bytes());
  read_at(file_, path_, kLengthWordBytes + header_text_.size() + tensor.begin, bytes);
}

void SafetensorsReader::read(const TensorInfo& tensor, std::span<float> values) const {
  assert(tensor.dtype == "F32");
  read(tensor, std::as_writable_bytes(values));
}

bool SafetensorsReader::has_checksums() const {
  return header_.metadata.contains(std::string(kDataChecksum)) &&
         header_.metadata.contains(std::string(kHeaderChecksum));
}

void SafetensorsReader::verify_checksums() const {
  if (!has_checksums()) {
    fail(ExitCode::kData, "{}: written by another program: its metadata does not have {} and {}", path_.string(),
         kDataChecksum, kHeaderChecksum);
  }
  const auto digits = header_checksum_position(header_text_);
  const std::string& said_of_header = header_.metadata.at(std::string(kHeaderChecksum));
  if (!digits || said_of_header != hex(checksum_of_header(header_text_, *digits))) {
    fail(ExitCode::kData, "{}: damaged: the header (offsets 0 to {}) does not match its checksum {}", path_.string(),
         kLengthWordBytes + header_text_.size(), printable(said_of_header));
  }

  const std::uint64_t begin = kLengthWordBytes + header_text_.size();
  std::vector<std::byte> chunk(std::min<std::uint64_t>(kReadChunkBytes, file_.size_bytes - begin));
  std::uint32_t crc = 0;
  for (std::uint64_t offset = begin; offset < file_.size_bytes; offset += chunk.size()) {
    chunk.resize(std::min<std::uint64_t>(chunk.size(), file_.size_bytes - offset));
    read_at(file_, path_, offset, chunk);
    crc = crc32c(chunk, crc);
  }
  const std::string& said_of_data = header_.metadata.at(std::string(kDataChecksum));
  if (said_of_data != hex(crc)) {
    fail(ExitCode::kData, "{}: damaged: the data (offsets {} to {}) has checksum {}, not {}", path_.string(), begin,
         file_.size_bytes, hex(crc), printable(said_of_data));
  }
}

void write_safetensors(const std::filesystem::path& path, std::map<std::string, std::string> metadata,
                       std::span<const NamedTensor> tensors) {
  SafetensorsHeader header;
  std::uint64_t offset = 0;
  std::uint32_t data_crc = 0;
  for (const NamedTensor& tensor : tensors) {
    assert(std::accumulate(tensor.shape.begin(), tensor.shape.end(), std::int64_t{1}, std::multiplies<>()) ==
           static_cast<std::int64_t>(tensor.values.size()));
    const std::uint64_t end = offset + tensor.values.size_bytes();
    header.tensors.push_back({.name = tensor.name, .dtype = "F32", .shape = tensor.shape, .begin = offset, .end = end});
    data_crc = crc32c(std::as_bytes(tensor.values), data_crc);
    offset = end;
  }
  metadata[std::string(kDataChecksum)] = hex(data_crc);
  metadata[std::string(kHeaderChecksum)] = kNoDigits;
  header.metadata = std::move(metadata);
  std::string text = format_safetensors_header(header);
  const std::size_t digits = header_checksum_position(text).value();
  text.replace(digits, kNoDigits.size(), hex(checksum_of_header(text, digits)));

  AtomicFile file(path);
  file.write(to_little_endian(static_cast<std::uint64_t>(text.size())));
  file.write(bytes_of(text));
  for (const NamedTensor& tensor : tensors) file.write(std::as_bytes(tensor.values));
  file.commit();
}

}  // namespace distmnist
