#include "lib/supervisor/metrics_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fmt/core.h>

#include "lib/base/log.h"

namespace distmnist {
namespace {

// The file size without an unterminated last line. Rows are shorter than the part of the file that is read.
off_t length_of_whole_lines(int fd, off_t size) {
  std::array<char, 4096> tail;
  const off_t begin = size > static_cast<off_t>(tail.size()) ? size - static_cast<off_t>(tail.size()) : 0;
  const ssize_t got = pread(fd, tail.data(), static_cast<std::size_t>(size - begin), begin);
  if (got <= 0) return size;
  const auto newline = std::string_view(tail.data(), static_cast<std::size_t>(got)).rfind('\n');
  if (newline == std::string_view::npos) return begin == 0 ? 0 : size;
  return begin + static_cast<off_t>(newline) + 1;
}

// True if the file begins with our header, or is a prefix of it.
bool has_our_columns(int fd) {
  std::array<char, MetricsWriter::kHeader.size()> begin;
  const ssize_t got = pread(fd, begin.data(), begin.size(), 0);
  return got >= 0 && MetricsWriter::kHeader.starts_with(std::string_view(begin.data(), static_cast<std::size_t>(got)));
}

// metrics.old-<n>.csv with the lowest free n.
std::filesystem::path free_old_name(const std::filesystem::path& path) {
  for (int n = 1;; ++n) {
    auto name = path.parent_path() / fmt::format("{}.old-{}{}", path.stem().string(), n, path.extension().string());
    std::error_code ignored;
    if (!std::filesystem::exists(std::filesystem::symlink_status(name, ignored))) return name;
  }
}

}  // namespace

MetricsWriter::MetricsWriter(std::filesystem::path file) : path_(std::move(file)) {
  if (!open_file()) return;
  if (is_regular_ && size_ > 0 && !has_our_columns(fd_.get())) {
    const auto old_name = free_old_name(path_);
    std::error_code error;
    std::filesystem::rename(path_, old_name, error);
    if (error) {
      report(error.value());
      fd_ = FileDescriptor();
      return;
    }
    log_info("{} has different columns from those this version writes and was moved to {}", path_.string(),
             old_name.string());
    if (!open_file()) return;
  }
  if (is_regular_ && size_ > 0) {
    const off_t whole = length_of_whole_lines(fd_.get(), size_);
    if (whole < size_ && ftruncate(fd_.get(), whole) == 0) size_ = whole;
  }
  needs_header_ = size_ == 0;
}

bool MetricsWriter::open_file() {
  fd_ = FileDescriptor(open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666));
  struct stat status;
  if (!fd_ || fstat(fd_.get(), &status) != 0) {
    report(errno);
    return false;
  }
  is_regular_ = S_ISREG(status.st_mode);
  size_ = status.st_size;
  return true;
}

void MetricsWriter::append(const MetricsRow& row) {
  const std::string line =
      fmt::format("{:.3f},{},{},{:.6g},{:.4f},{:.2f},{},{},{:.2f},{},{:.6f},{:.6f},{:.6f},{:.6f},{},{}\n",
                  row.wall_time, row.global_step, row.worker, row.loss, row.accuracy, row.steps_per_second,
                  row.accepted, row.dropped, row.staleness_mean, row.staleness_max, row.compute_s, row.push_s,
                  row.wait_s, row.pull_s, row.sent_bytes, row.received_bytes);
  if (needs_header_ && write_line(kHeader)) needs_header_ = false;
  if (needs_header_ || !write_line(line)) ++lost_rows_;
}

bool MetricsWriter::write_line(std::string_view line) {
  if (!fd_) return false;
  ssize_t done = 0;
  do {
    done = write(fd_.get(), line.data(), line.size());
  } while (done < 0 && errno == EINTR);
  if (done == static_cast<ssize_t>(line.size())) return true;
  report(done < 0 ? errno : ENOSPC);
  // Removes a row that a full disk cut short, so that the next row starts on a new line.
  struct stat status;
  if (done > 0 && fstat(fd_.get(), &status) == 0 && ftruncate(fd_.get(), status.st_size - done) != 0) report(errno);
  return false;
}

void MetricsWriter::report(int error) {
  if (std::exchange(reported_, true)) return;
  log_error("cannot write {}: {}; training continues, but its rows are lost", path_.string(), errno_text(error));
}

}  // namespace distmnist
