// MetricsWriter: metrics.csv, one line per reported step, for spreadsheets and plots.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "lib/base/file.h"

namespace distmnist {

// The fields from `accepted` on are totals of the process that wrote the row.
struct MetricsRow {
  double wall_time = 0;  // seconds since 1970-01-01 UTC
  std::int64_t global_step = 0;
  int worker = 0;
  double loss = 0;
  double accuracy = 0;  // 0 .. 1, of the worker's batch
  double steps_per_second = 0;
  std::int64_t accepted = 0, dropped = 0;  // pushes
  double staleness_mean = 0;               // of all pushes
  std::int64_t staleness_max = 0;
  double compute_s = 0, push_s = 0, wait_s = 0, pull_s = 0;
  std::int64_t sent_bytes = 0, received_bytes = 0;
};

// Appends to the file, so a resumed run continues it. Steps may then appear twice; the later line is the valid one.
// First removes a partial line left by a process that died, and renames a file with different columns to
// metrics.old-<n>.csv. Writes each row with one write. An I/O error (a full disk) is logged once as an error and never
// thrown: rows are lost, training continues, and later rows are tried again. Not thread-safe.
class MetricsWriter {
 public:
  static constexpr std::string_view kHeader =
      "wall_time,global_step,worker,loss,accuracy,steps_per_second,accepted,dropped,staleness_mean,staleness_max,"
      "compute_s,push_s,wait_s,pull_s,sent_bytes,received_bytes\n";

  explicit MetricsWriter(std::filesystem::path file);

  void append(const MetricsRow& row);
  std::int64_t lost_rows() const { return lost_rows_; }

 private:
  bool open_file();
  bool write_line(std::string_view line);
  void report(int error);

  std::filesystem::path path_;
  FileDescriptor fd_;
  bool is_regular_ = false;
  std::int64_t size_ = 0;  // in bytes, when it was opened
  bool needs_header_ = false;
  bool reported_ = false;
  std::int64_t lost_rows_ = 0;
};

}  // namespace distmnist
