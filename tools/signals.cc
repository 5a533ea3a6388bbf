#include "tools/signals.h"

#include <csignal>

namespace distmnist {
namespace {

volatile std::sig_atomic_t received = 0;

extern "C" void note_signal(int number) {
  received = number;
}

}  // namespace

void note_signals() {
  struct sigaction action {};
  action.sa_handler = note_signal;
  // The second signal gets the default action. Waits are interrupted and not restarted, so that loops notice at once.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGXCPU, &action, nullptr);  // The soft limit on CPU time (ulimit -t) leaves time to save.
  struct sigaction before {};
  if (sigaction(SIGHUP, nullptr, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
}

void ignore_signals_of_writes() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

std::optional<ExitCode> signal_received() {
  if (received == 0) return std::nullopt;
  return received == SIGINT ? ExitCode::kInterrupted : ExitCode::kTerminated;
}

}  // namespace distmnist
