#include "tools/jpeg_picture.h"

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>

#include <jpeglib.h>

#include <jerror.h>

#include "lib/base/error.h"
#include "tools/orientation.h"
#include "tools/picture_size.h"

namespace distmnist {
namespace {

constexpr int kMaxScans = 200;  // of a progressive file; files with more are made to keep a decoder busy
constexpr std::string_view kExif("Exif\0\0", 6);

// State of libjpeg's callbacks. libjpeg's own struct comes first because the callbacks get a pointer to it.
struct Errors {
  jpeg_error_mgr manager;
  std::jmp_buf jump;
  char problem[JMSG_LENGTH_MAX] = "";
};

// libjpeg requires that this does not return. The functions that call setjmp have no objects that need destruction.
[[noreturn]] void on_error(j_common_ptr common) {
  auto* errors = reinterpret_cast<Errors*>(common->err);
  (*common->err->format_message)(common, errors->problem);
  std::longjmp(errors->jump, 1);
}

// libjpeg substitutes grey for missing or invalid data. Other warnings, such as extra bytes or unknown versions, do not
// matter.
void on_message(j_common_ptr common, int level) {
  if (level >= 0) return;
  switch (common->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
      on_error(common);
    default:
      return;
  }
}

void on_progress(j_common_ptr common) {
  const auto* decompressor = reinterpret_cast<j_decompress_ptr>(common);
  if (decompressor->input_scan_number <= kMaxScans) return;
  auto* errors = reinterpret_cast<Errors*>(common->err);
  std::snprintf(errors->problem, sizeof(errors->problem), "more than %d scans", kMaxScans);
  std::longjmp(errors->jump, 1);
}

class JpegDecoder {
 public:
  JpegDecoder() {
    jpeg_.err = jpeg_std_error(&errors_.manager);
    errors_.manager.error_exit = on_error;
    errors_.manager.emit_message = on_message;
    progress_.progress_monitor = on_progress;
  }
  ~JpegDecoder() { jpeg_destroy_decompress(&jpeg_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  const char* problem() const { return errors_.problem; }
  std::int64_t height() const { return jpeg_.image_height; }
  std::int64_t width() const { return jpeg_.image_width; }
  int channels() const { return jpeg_.output_components; }
  // Adobe's programs store CMYK inverted, as the remaining white; others store the amount of ink.
  bool is_inverted() const { return jpeg_.saw_Adobe_marker != 0; }

  // Reads up to the pixels. Returns false on an error; see problem().
  bool read_header(std::span<const std::byte> bytes) {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_decompress(&jpeg_);
    jpeg_.progress = &progress_;
    jpeg_mem_src(&jpeg_, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    jpeg_save_markers(&jpeg_, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&jpeg_, TRUE);
    return true;
  }

  // Call before reading pixels. Selects 1, 3 or 4 output channels.
  bool start() {
    if (setjmp(errors_.jump) != 0) return false;
    if (jpeg_.jpeg_color_space == JCS_GRAYSCALE) {
      jpeg_.out_color_space = JCS_GRAYSCALE;
    } else if (jpeg_.jpeg_color_space == JCS_CMYK || jpeg_.jpeg_color_space == JCS_YCCK) {
      jpeg_.out_color_space = JCS_CMYK;
    } else {
      jpeg_.out_color_space = JCS_RGB;
    }
    jpeg_start_decompress(&jpeg_);
    return true;
  }

  // `row` is [width][channels] bytes.
  bool read_row(JSAMPROW row) {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_read_scanlines(&jpeg_, &row, 1);
    return true;
  }

  // Reads the data after the pixels.
  bool finish() {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_finish_decompress(&jpeg_);
    return true;
  }

  // Call before finish(), which discards it.
  int orientation() const {
    for (const jpeg_marker_struct* marker = jpeg_.marker_list; marker != nullptr; marker = marker->next) {
      const std::span data(reinterpret_cast<const std::byte*>(marker->data), marker->data_length);
      if (data.size() < kExif.size() || std::memcmp(data.data(), kExif.data(), kExif.size()) != 0) continue;
      return orientation_of(data.subspan(kExif.size()));
    }
    return kUpright;
  }

 private:
  Errors errors_{};
  jpeg_progress_mgr progress_{};
  jpeg_decompress_struct jpeg_{};
};

// Converts one pixel of 1, 3 or 4 channels to RGBA.
void put_pixel(const unsigned char* from, int channels, bool is_inverted, std::uint8_t* rgba) {
  for (int c = 0; c < 3; ++c) {
    if (channels < 4) {
      rgba[c] = from[channels == 1 ? 0 : c];
    } else {
      const int light = is_inverted ? from[c] : 255 - from[c], black = is_inverted ? from[3] : 255 - from[3];
      rgba[c] = static_cast<std::uint8_t>(light * black / 255);
    }
  }
  rgba[3] = 255;
}

}  // namespace

Picture read_jpeg(const std::string& file, std::span<const std::byte> bytes) {
  JpegDecoder decoder;
  const auto refuse = [&] {
    fail(ExitCode::kData, "{}: a JPEG that cannot be read ({}); save the picture again, as PNG or JPEG", file,
         decoder.problem());
  };
  if (!decoder.read_header(bytes)) refuse();
  check_size(file, decoder.height(), decoder.width());
  if (!decoder.start()) refuse();
  Picture picture{decoder.height(), decoder.width(), {}};
  picture.rgba.resize(static_cast<std::size_t>(4 * picture.height * picture.width));
  const int channels = decoder.channels();
  std::vector<unsigned char> row(static_cast<std::size_t>(picture.width * channels));
  for (std::int64_t y = 0; y < picture.height; ++y) {
    if (!decoder.read_row(row.data())) refuse();
    for (std::int64_t x = 0; x < picture.width; ++x) {
      put_pixel(&row[static_cast<std::size_t>(x * channels)], channels, decoder.is_inverted(),
                &picture.rgba[static_cast<std::size_t>(4 * (y * picture.width + x))]);
    }
  }
  const int orientation = decoder.orientation();
  if (!decoder.finish()) refuse();
  return turn_upright(std::move(picture), orientation);
}

}  // namespace distmnist
