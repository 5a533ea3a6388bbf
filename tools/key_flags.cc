#include "tools/key_flags.h"

namespace distmnist {

void add_keygen_subcommand(CLI::App& app, Flags& flags) {
  auto* keygen = app.add_subcommand("keygen", "make the keys of a cluster's tasks, for --keys");
  keygen->add_option("folder", flags.keygen_folder, "where to: a folder that is not there yet, or is empty")
      ->required();
  keygen->add_option("--tasks", flags.keygen_tasks, "how many of which: ps:2,worker:3; a folder for each task");
  keygen->add_option("--cluster", flags.cluster, "or a JSON file: job -> list of host:port; a folder for each host");
  keygen->add_option("--ps_hosts", flags.ps_hosts, "or host:port of every ps, comma-separated");
  keygen->add_option("--worker_hosts", flags.worker_hosts, "... and of every worker");
  keygen->add_option("--ps_job", flags.ps_job, "the job of --cluster that plays the ps")->capture_default_str();
  keygen->add_option("--worker_job", flags.worker_job, "the job of --cluster that plays the workers")
      ->capture_default_str();
  keygen->callback([&flags] { flags.command = Command::kKeygen; });
}

}  // namespace distmnist
