#include "data/mapped_file.h"

#include <cerrno>

#include <sys/mman.h>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace distmnist {

MappedFile::MappedFile(const std::filesystem::path& path, Trust trust) {
  const InputFile file = open_for_reading(path);
  if (trust == Trust::kThisUser && !file.is_private) {
    fail(ExitCode::kData, "{} is not used: another user owns it or can write to it", path.string());
  }
  if (file.size_bytes == 0) return;  // the system refuses to map an empty file
  void* address = mmap(nullptr, file.size_bytes, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
  if (address == MAP_FAILED) {
    const int error = errno;
    fail(exit_code_of(error, ExitCode::kData), "cannot read {}: {}", path.string(), errno_text(error));
  }
  bytes_ = {static_cast<const std::uint8_t*>(address), file.size_bytes};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::uint8_t*>(bytes_.data()), bytes_.size());
}

void MappedFile::let_pages_go() const {
  if (!bytes_.empty()) madvise(const_cast<std::uint8_t*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
}

}  // namespace distmnist
