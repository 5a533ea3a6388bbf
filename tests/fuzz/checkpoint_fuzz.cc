// Reads a file as a checkpoint, and as a safetensors file of any program. The first byte selects whether the rest is
// the file itself, or a header's text, a newline, and data. From the latter the harness builds a file with the correct
// length and checksums, as an attacker would.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/math/crc32c.h"
#include "lib/supervisor/checkpoint.h"
#include "lib/supervisor/inspect.h"
#include "lib/supervisor/safetensors.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/input.h"

namespace distmnist::fuzz {
namespace {

// A file in memory whose content each input replaces.
class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("checkpoint", 0)) { check(fd_ >= 0, "there is a file in memory"); }
  void write(std::string_view text) const {
    const bool written =
        ftruncate(fd_, 0) == 0 && pwrite(fd_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
    check(written, "the file can be written");
  }
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

// docs/checkpoint.md: eight digits after each name; the checksum of the header is computed with zeros in its own
// digits.
void put_digits(std::string& header, std::string_view name, std::uint32_t checksum) {
  const std::string before = "\"" + std::string(name) + "\":\"";
  const std::size_t at = header.find(before);
  if (at == header.npos || header.size() - at - before.size() < 8) return;
  header.replace(at + before.size(), 8, fmt::format("{:08x}", checksum));
}

std::string mended(std::string_view text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string header(text.substr(0, end));
  const std::string_view data = text.substr(std::min(end + 1, text.size()));
  put_digits(header, "crc32c_data", crc32c(bytes_of(data)));
  put_digits(header, "crc32c_header", 0);
  const auto length = to_little_endian(static_cast<std::uint64_t>(header.size()));
  const std::string length_word(text_of(length));
  put_digits(header, "crc32c_header", crc32c(bytes_of(length_word + header)));
  return length_word + header + std::string(data);
}

// A file may be refused as damaged, foreign or of a different version.
template <class Read>
void try_reading(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    check(error.code() == ExitCode::kData || error.code() == ExitCode::kVersion, "a bad file is told as one");
    for (const char* c = error.what(); *c != '\0'; ++c) {
      check(static_cast<unsigned char>(*c) >= ' ' && *c != '\x7F', "an error is one line of plain text");
    }
  }
}

void check_snapshot(const ModelSnapshot& snapshot) {
  check(not_finite_tensor(snapshot).empty(), "a model that was read is finite");
  constexpr std::int64_t kMost = std::int64_t{1} << 60;
  check(snapshot.global_step >= 0 && snapshot.global_step <= kMost, "a step can be counted on from");
  for (const auto& [worker, samples] : snapshot.consumed_samples) {
    check(worker >= 0 && samples >= 0 && samples <= kMost, "samples can be counted on from");
  }
  for (const auto& slot : snapshot.slots) check(slot.size() == snapshot.parameters.size(), "a slot fits the model");
  try_reading([&] { require_same_model(snapshot, snapshot.identity, "itself"); });
}

}  // namespace
}  // namespace distmnist::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace distmnist;
  using namespace distmnist::fuzz;
  static const MemoryFile file;
  Input input(data, size);
  const bool as_it_is = input.flag();
  const std::string text = Input::as_text(input.rest());
  file.write(as_it_is ? text : mended(text));
  try_reading([] { check_snapshot(read_checkpoint(file.path())); });
  try_reading([] { inspect_checkpoint(file.path()); });
  try_reading([] {
    const SafetensorsReader reader(file.path());
    for (const TensorInfo& tensor : reader.tensors()) {
      std::vector<std::byte> bytes(tensor.size_bytes());
      reader.read(tensor, std::span(bytes));
    }
  });
  return 0;
}
