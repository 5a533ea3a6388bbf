#include "data/gzip_reader.h"

#include <algorithm>
#include <array>

#include <zlib.h>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace distmnist {
namespace {

constexpr int kGzipWindowBits = 15 + 16;  // the largest window, with a gzip wrapper around the deflate stream
constexpr Bytef kMagic = 0x1f;            // the first byte of a member
constexpr std::size_t kMaxStep = std::size_t{1} << 30;  // zlib counts in 32 bits

}  // namespace

struct GzipReader::State {
  std::filesystem::path path;
  InputFile file;
  std::array<std::byte, 64 * 1024> input;
  std::uint64_t bytes_loaded = 0;  // from the compressed file into `input`
  z_stream stream{};
  bool in_member = true;

  // Ensures that at least one compressed byte is available; false at the end of the file.
  bool load_input() {
    if (stream.avail_in > 0) return true;
    const std::size_t size = std::min<std::uint64_t>(input.size(), file.size_bytes - bytes_loaded);
    read_at(file, path, bytes_loaded, std::span(input).first(size));
    bytes_loaded += size;
    stream.next_in = reinterpret_cast<Bytef*>(input.data());
    stream.avail_in = static_cast<uInt>(size);
    return size > 0;
  }

  std::span<const Bytef> loaded() const { return {stream.next_in, stream.avail_in}; }

  // Call after the end of a member, with input available. Returns whether a new member begins here; otherwise only
  // zeros may follow.
  bool next_member() {
    if (loaded()[0] == kMagic) {
      inflateReset(&stream);
      in_member = true;
      return true;
    }
    while (load_input()) {
      const auto other = std::ranges::find_if(loaded(), [](Bytef byte) { return byte != 0; });
      const auto zeros = static_cast<std::size_t>(other - loaded().begin());
      if (other != loaded().end()) {
        fail(ExitCode::kData, "{}: the gzip data is followed by something else at offset {}; download the file again",
             path.string(), bytes_loaded - stream.avail_in + zeros);
      }
      stream.avail_in = 0;
    }
    return false;
  }
};

GzipReader::GzipReader(const std::filesystem::path& path) : state_(std::make_unique<State>()) {
  state_->path = path;
  state_->file = open_for_reading(path);
  if (inflateInit2(&state_->stream, kGzipWindowBits) != Z_OK) {
    fail(ExitCode::kResources, "{}: not enough memory to decompress it", path.string());
  }
}

GzipReader::~GzipReader() {
  inflateEnd(&state_->stream);
}

std::uint64_t GzipReader::compressed_offset() const {
  return state_->bytes_loaded - state_->stream.avail_in;
}

std::size_t GzipReader::read(std::span<std::uint8_t> bytes) {
  z_stream& stream = state_->stream;
  std::size_t done = 0;
  while (done < bytes.size()) {
    if (!state_->load_input()) {
      if (!state_->in_member) break;
      fail(ExitCode::kData, "{}: the gzip data is truncated: it ends at offset {}; download the file again",
           state_->path.string(), compressed_offset());
    }
    if (!state_->in_member && !state_->next_member()) break;
    const std::size_t step = std::min(bytes.size() - done, kMaxStep);
    stream.next_out = bytes.data() + done;
    stream.avail_out = static_cast<uInt>(step);
    const int result = inflate(&stream, Z_NO_FLUSH);
    done += step - stream.avail_out;
    if (result == Z_STREAM_END) {
      state_->in_member = false;
    } else if (result != Z_OK) {
      fail(ExitCode::kData, "{}: the gzip data is corrupted at offset {} ({}); download the file again",
           state_->path.string(), compressed_offset(), stream.msg != nullptr ? stream.msg : zError(result));
    }
  }
  return done;
}

}  // namespace distmnist
