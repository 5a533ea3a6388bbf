#include "tools/local_server.h"

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "lib/base/counted.h"
#include "lib/base/log.h"
#include "lib/base/unguessable.h"
#include "lib/ps/server/parameter_server.h"
#include "tools/failure.h"
#include "tools/num_threads.h"
#include "tools/signals.h"

namespace distmnist {
namespace {

class LocalServer {
 public:
  LocalServer(const Job& job, int num_ps, const std::vector<Flags>& workers)
      : job_(job), num_ps_(num_ps), workers_(workers) {}

  ExitCode run() {
    log_info("local server: {} ps and {}, threads of this process", num_ps_, counted(num_workers(), "worker"));
    for (int k = 0; k < num_ps_; ++k) {
      endpoints_.push_back(fmt::format("inproc://ps{}", k));
      addresses_.push_back({"inproc", static_cast<std::uint16_t>(k + 1)});
    }
    try {
      for (int k = 0; k < num_ps_; ++k) start({"ps", k}, [this, k] { return serve(k); });
      for (int w = 0; w < num_workers(); ++w) start({"worker", w}, [this, w] { return work(w); });
    } catch (...) {
      stop(failure_being_handled());  // The tasks that have already started then stop by themselves.
    }
    for (std::thread& thread : threads_) thread.join();
    return stop_code().value_or(ExitCode::kOk);
  }

 private:
  void start(TaskId task, std::function<ExitCode()> run_task) {
    threads_.emplace_back([this, task, run_task = std::move(run_task)] {
      const std::string name = task.to_string();
      const LogTask log_task(name);
      try {
        run_task();
      } catch (...) {
        stop(failure_being_handled());
      }
    });
  }

  ExitCode serve(int index) {
    ParameterServerConfig config;
    config.endpoint = endpoints_[static_cast<std::size_t>(index)];
    config.context = &context_;
    config.identity.index = static_cast<std::uint32_t>(index);
    config.identity.num_ps = static_cast<std::uint32_t>(num_ps_);
    config.identity.num_workers = static_cast<std::uint32_t>(num_workers());
    config.identity.epoch = unguessable_number();
    config.limits = wait_limits(job_.flags);
    config.threads = num_threads(job_.flags, num_ps_ + num_workers());
    config.stop_signal = [this] { return stop_code(); };
    return run_parameter_server(config);
  }

  ExitCode work(int index) {
    WorkerSeat seat;
    seat.task = {"worker", index};
    seat.num_workers = static_cast<std::uint32_t>(num_workers());
    seat.num_sharing_cores = num_workers();
    seat.place_among_them = index;
    seat.ps = addresses_;
    seat.endpoints = endpoints_;
    seat.context = &context_;
    seat.stop_signal = [this] { return stop_code(); };
    const Job own{.flags = workers_[static_cast<std::size_t>(index)],
                  .graph = job_.graph,
                  .data = job_.data,
                  .data_identity = job_.data_identity,
                  .data_source = job_.data_source,
                  .devices = job_.devices,
                  .config = job_.config,
                  .started_s = job_.started_s};
    return run_worker(own, seat);
  }

  // The exit code for all tasks, once one has failed or a signal has arrived.
  std::optional<ExitCode> stop_code() const {
    const int failed = failed_;
    return failed != 0 ? static_cast<ExitCode>(failed) : signal_received();
  }

  void stop(const Failure& failure) {
    int none = 0;
    const int code = static_cast<int>(failure.code);
    // Errors caused by other tasks stopping are not reported.
    const bool first = !signal_received() && failed_.compare_exchange_strong(none, code);
    if (first) log_error("error: {}; exit {}", failure.what, code);
  }

  int num_workers() const { return static_cast<int>(workers_.size()); }

  const Job& job_;
  int num_ps_;
  const std::vector<Flags>& workers_;
  WireContext context_;
  std::vector<std::string> endpoints_;
  std::vector<HostPort> addresses_;  // only names, for messages
  std::vector<std::thread> threads_;
  std::atomic<int> failed_ = 0;
};

}  // namespace

ExitCode run_local_server(const Job& job, int num_ps, const std::vector<Flags>& workers) {
  return LocalServer(job, num_ps, workers).run();
}

}  // namespace distmnist
