#include "tools/png_picture.h"

#include <csetjmp>
#include <cstring>

#include <png.h>

#include "lib/base/error.h"
#include "tools/orientation.h"
#include "tools/picture_size.h"

namespace distmnist {
namespace {

// State of libpng's callbacks.
struct Source {
  std::span<const std::byte> left;
  char problem[200] = "";
};

// libpng requires that this does not return. The functions that call setjmp have no objects that need destruction.
[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* source = static_cast<Source*>(png_get_error_ptr(png));
  std::strncpy(source->problem, message, sizeof(source->problem) - 1);
  std::longjmp(png_jmpbuf(png), 1);
}

void on_warning(png_structp, png_const_charp) {}  // about chunks that do not matter here

void on_read(png_structp png, png_bytep out, std::size_t size) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (size > source->left.size()) png_error(png, "the file is cut off");
  std::memcpy(out, source->left.data(), size);
  source->left = source->left.subspan(size);
}

class PngDecoder {
 public:
  explicit PngDecoder(std::span<const std::byte> bytes) : source_{bytes} {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source_, on_error, on_warning);
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    if (info_ != nullptr) png_set_read_fn(png_, &source_, on_read);
  }
  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;

  const char* problem() const { return source_.problem; }
  std::int64_t height() const { return png_get_image_height(png_, info_); }
  std::int64_t width() const { return png_get_image_width(png_, info_); }

  // Reads up to the pixels. Returns false on an error; see problem().
  bool read_header() {
    if (info_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // our own limits have better messages
    png_read_info(png_, info_);
    return true;
  }

  // Reads all pixels as RGBA with 8 bits each, and the data after them.
  bool read_pixels(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_scale_16(png_);
    png_set_expand(png_);  // palettes, fewer bits, a transparent colour
    png_set_gray_to_rgb(png_);
    png_set_add_alpha(png_, 255, PNG_FILLER_AFTER);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    png_read_image(png_, rows);
    png_read_end(png_, info_);
    return true;
  }

  int orientation() {
    png_uint_32 size = 0;
    png_bytep exif = nullptr;
    if (png_get_eXIf_1(png_, info_, &size, &exif) == 0) return kUpright;
    return orientation_of({reinterpret_cast<const std::byte*>(exif), size});
  }

 private:
  Source source_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace

Picture read_png(const std::string& file, std::span<const std::byte> bytes) {
  PngDecoder decoder(bytes);
  const auto refuse = [&] {
    fail(ExitCode::kData, "{}: a PNG that cannot be read ({}); save the picture again, as PNG or JPEG", file,
         decoder.problem());
  };
  if (!decoder.read_header()) refuse();
  check_size(file, decoder.height(), decoder.width());
  Picture picture{decoder.height(), decoder.width(), {}};
  picture.rgba.resize(static_cast<std::size_t>(4 * picture.height * picture.width));
  std::vector<png_bytep> rows;
  for (std::int64_t y = 0; y < picture.height; ++y)
    rows.push_back(&picture.rgba[static_cast<std::size_t>(4 * y * picture.width)]);
  if (!decoder.read_pixels(rows.data())) refuse();
  return turn_upright(std::move(picture), decoder.orientation());
}

}  // namespace distmnist
