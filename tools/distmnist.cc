// distmnist: reads the command line, selects and runs the role, and turns every error into one line and an exit code.
#include <fcntl.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/counted.h"
#include "lib/base/log.h"
#include "lib/base/output.h"
#include "tools/cluster_setup.h"
#include "tools/commands.h"
#include "tools/data_source.h"
#include "tools/environment.h"
#include "tools/failure.h"
#include "tools/flag_table.h"
#include "tools/flags.h"
#include "tools/signals.h"

namespace distmnist {
namespace {

ExitCode run_task(const Flags& flags, const std::optional<Place>& place, double started_s) {
  if (has_tf_config() && !describes_cluster(flags)) {
    log_warning(
        "TF_CONFIG is set, but this program does not read it: write its \"cluster\" to a file and name that with "
        "--cluster, and give its \"task\" with --job_name and --task_index; without them this process {}",
        place ? "uses the built-in cluster" : "trains alone");
  }
  if (!place) return train(flags, place, started_s);
  set_up_log(place->task.to_string(), flags.console.log_format);
  log_info("cluster from {}: {} ps, {}; this is {}", place->cluster.source, place->cluster.ps.size(),
           counted(static_cast<std::int64_t>(place->cluster.workers.size()), "worker"), place->task.to_string());
  for (const std::string& remark : place->cluster.remarks) log_warning("{}", remark);
  return place->task.job == "ps" ? serve_parameters(flags, *place) : train(flags, place, started_s);
}

ExitCode run_command(const Flags& flags, double started_s) {
  if (const auto run = row_of(flags.command).run) return run(flags);
  if (flags.data.download_only) download_data(flags);
  const std::optional<Place> place = find_place(flags);
  const ExitCode code = run_task(flags, place, started_s);
  log_info("peak memory {:.0f} MB, {:.1f} s in all", peak_memory_mb(), monotonic_s() - started_s);
  return code;
}

// Whether this process runs oneDNN's kernels on several threads.
bool computes_on_threads(const Flags& flags) {
  const bool is_ps = flags.command == Command::kTrain && flags.cluster.job_name == flags.cluster.ps_job;
  return (row_of(flags.command).traits & kComputes) != 0 && !is_ps && flags.devices.intra_op_parallelism_threads != 1;
}

// The name of the task in log lines.
std::string name_of(const Flags& flags) {
  return flags.cluster.job_name.empty()
             ? "local"
             : fmt::format("{}:{}", flags.cluster.job_name, flags.cluster.task_index.value_or(0));
}

// If the caller closed a standard stream, the next file or socket would get its descriptor, and the program's output
// would be written into it.
void occupy_standard_streams() {
  int descriptor = 0;
  // Read-only, so that writing results fails instead of losing them.
  while (descriptor >= 0 && descriptor <= STDERR_FILENO) descriptor = open("/dev/null", O_RDONLY);
  if (descriptor > STDERR_FILENO) close(descriptor);
}

// Prints "error: ...; exit 138", after the name of the task.
int report(ExitCode code, const std::string& what) {
  log_error("error: {}; exit {}", what, static_cast<int>(code));
  return static_cast<int>(code);
}

int main_with_errors(int argc, char** argv) {
  const double started_s = monotonic_s();
  occupy_standard_streams();
  ignore_signals_of_writes();
  try {
    const ParsedFlags parsed = parse_flags(argc, argv);
    if (parsed.only_print) {
      print("{}", parsed.text);
      return 0;
    }
    const Flags& flags = parsed.flags;
    if (computes_on_threads(flags)) limit_spinning(argv);
    set_up_log(name_of(flags), flags.console.log_format);
    if ((row_of(flags.command).traits & kFinishesItsWork) != 0) note_signals();
    const ExitCode code = run_command(flags, started_s);
    if (code == ExitCode::kOk) check_output();
    return static_cast<int>(code);
  } catch (const ReaderGone&) {
    return static_cast<int>(ExitCode::kOk);  // The reader closed the pipe because it had enough.
  } catch (...) {
    const Failure failure = failure_being_handled();
    // A wait interrupted by a signal ends with the signal's code.
    const bool by_signal = failure.code == ExitCode::kInterrupted && signal_received();
    return report(by_signal ? *signal_received() : failure.code, failure.what);
  }
}

}  // namespace
}  // namespace distmnist

int main(int argc, char** argv) {
  return distmnist::main_with_errors(argc, argv);
}
