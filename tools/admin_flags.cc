#include "tools/admin_flags.h"

namespace distmnist {
namespace {

void add_ps_flags(CLI::App& app, Flags& flags) {
  app.add_option("--ps_hosts", flags.ps_hosts, "host:port of every ps, comma-separated, in the order of the ps tasks");
  app.add_option("--cluster", flags.cluster, "JSON file: job -> list of host:port");
  app.add_option("--ps_job", flags.ps_job, "the job of --cluster that plays the ps")->capture_default_str();
  app.add_option("--keys", flags.keys, "folder with the administrator's key, where the ps tasks were given --keys");
  app.add_option("--recovery_wait_secs", flags.admin_wait_secs, "how long a ps that cannot be reached is retried")
      ->capture_default_str();
}

}  // namespace

void add_admin_subcommands(CLI::App& app, Flags& flags) {
  auto* reset = app.add_subcommand("reset", "drop containers on every ps, and end the runs in them");
  reset->add_option("--container", flags.reset_containers, "names, comma-separated; \"\" is the default container");
  reset->add_flag("--all", flags.reset_all, "all containers");
  add_ps_flags(*reset, flags);
  reset->callback([&flags] { flags.command = Command::kReset; });

  auto* variable = app.add_subcommand("variable", "shared variables on ps tasks that were started with --ps_stay");
  variable
      ->add_option("action", flags.variable_action,
                   "init: create NAME with --value, or leave it as it is; get: its value; add: add --value to it; "
                   "list: all variables of the container, and how many floats of a model's each ps holds")
      ->required()
      ->check(CLI::IsMember({"init", "get", "add", "list"}));
  variable->add_option("name", flags.variable_name, "of the variable (init, get, add)");
  variable->add_option("--container", flags.container, "where the variable lives (default: the default container)");
  variable->add_option("--value", flags.variable_value, "a number (default: 0 for init, 1 for add)");
  add_ps_flags(*variable, flags);
  variable->callback([&flags] { flags.command = Command::kVariable; });
}

}  // namespace distmnist
