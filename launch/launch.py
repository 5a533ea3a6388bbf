#!/usr/bin/env python3
"""Starts a whole distmnist cluster, ps and workers, on this host, or prints the commands for several hosts.

  launch/launch.py                                                  1 ps on port 2222, 3 workers on 2223-2225
  launch/launch.py --num_ps 1 --num_workers 3 -- --train_steps 500  on free ports; flags after -- go to the program
  launch/launch.py --gpus 0,1 -- --data_dir DIR                     assigns the GPUs to the workers in turn
  launch/launch.py --secure                                         with keys, so that only its own tasks can connect
  launch/launch.py --hosts a,b,c --num_ps 2 --print                 prints one command per task, starts nothing

Standard output is for the tasks; the launcher prints on standard error. Its exit code is 0 if every task exits with 0,
otherwise that of the first task that failed (128 + N if signal N killed it). Ctrl-C makes the workers save and leave;
a second Ctrl-C kills them. No task outlives the launcher, even if the launcher is killed.
"""

import argparse
import collections
import contextlib
import os
import pathlib
import random
import re
import shlex
import shutil
import socket
import sys

import run_keys
from processes import EXIT_RESOURCES, Task, UsageError, run_cluster, say

EXIT_CONFLICT = 6

SEEDS_BASE_PORT = 2222  # the same as in the program's built-in cluster


# Command line ---------------------------------------------------------------------------------------------------------


class ArgumentParser(argparse.ArgumentParser):
    def error(self, message):
        raise UsageError(f"{message} (see --help)")


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def seconds(text):
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value


def comma_list(text):
    items = text.split(",")
    if "" in items:
        raise argparse.ArgumentTypeError(f"'{text}' has an empty item")
    return items


def host_list(text):
    hosts = comma_list(text)
    for host in hosts:
        if not re.fullmatch(r"[\w.%:\[\]-]+", host):
            raise argparse.ArgumentTypeError(f"'{host}' is not a host: give names or addresses, separated by commas")
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise argparse.ArgumentTypeError(
                f"'{host}': give hosts without ports (ports count up from --base_port), IPv6 in brackets")
    return hosts


def parse_arguments(arguments):
    """Returns (options, arguments for the program). Only arguments before the first -- belong to the launcher."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    own, program_arguments = arguments[:cut], arguments[cut + 1:]
    parser = ArgumentParser(prog="launch.py", description=__doc__, allow_abbrev=False,
                            formatter_class=argparse.RawDescriptionHelpFormatter,
                            usage="launch/launch.py [launcher flags] [-- flags of the program]")
    parser.add_argument("--num_ps", type=positive, default=1, metavar="N", help="parameter servers (1)")
    parser.add_argument("--num_workers", type=positive, metavar="N", help="workers (3; with --hosts one per host)")
    parser.add_argument("--base_port", type=positive, metavar="PORT",
                        help="first port; the ps tasks get the lowest ports (free ports; without any flag 2222)")
    parser.add_argument("--binary", metavar="FILE", help="the program ($DISTMNIST, then PATH, then build/)")
    parser.add_argument("--gpus", type=comma_list, metavar="0,1", help="GPUs, assigned to the workers in turn")
    parser.add_argument("--gpus_per_host", type=positive, metavar="N", help="the same as --gpus 0,...,N-1")
    parser.add_argument("--secure", action="store_true",
                        help="make keys for this run, so that its ps tasks accept only its workers")
    parser.add_argument("--grace_s", type=seconds, default=20.0, metavar="S",
                        help="seconds that the tasks have to save and leave before they are killed (20)")
    parser.add_argument("--ps_wait_s", type=seconds, default=30.0, metavar="S",
                        help="seconds that a ps has to leave after the last worker is done (30; no limit if the "
                             "program is given --ps_stay)")
    parser.add_argument("--hosts", type=host_list, metavar="A,B,C",
                        help="with --print: the hosts; a host that is named twice gets twice the workers")
    parser.add_argument("--print", action="store_true", dest="print_only", help="print the commands, start nothing")
    options, unknown = parser.parse_known_args([with_underscores(argument) for argument in own])
    if unknown:
        raise UsageError(f"{unknown[0]} is not a flag of the launcher: flags of the program go after a --, "
                         "as in launch/launch.py --num_workers 3 -- --train_steps 5000")
    check_options(options)
    if options.secure and any(re.match("--keys(=|$)", argument) for argument in program_arguments):
        raise UsageError("--secure makes keys for this run, but --keys names others: give only one of them")
    if options.secure and "--insecure" in program_arguments:
        raise UsageError("--secure and --insecure: --insecure is for runs without keys; leave it out")
    if not own or options.print_only:
        options.base_port = options.base_port or SEEDS_BASE_PORT
    options.num_workers = options.num_workers or (len(options.hosts) if options.hosts else 3)
    if options.gpus_per_host:
        options.gpus = [str(i) for i in range(options.gpus_per_host)]
    return options, program_arguments


def ps_stay(program_arguments):
    """True if the program's flags tell ps tasks to stay when their run is over."""
    flags = [with_underscores(argument) for argument in program_arguments]
    return "--ps_stay" in flags or "--ps_stay=true" in flags


def with_underscores(argument):
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def check_options(options):
    if options.hosts and not options.print_only:
        raise UsageError("--hosts needs --print: this launcher starts tasks on its own host only, "
                         "so print the commands and run each on its host")
    if options.gpus and options.gpus_per_host:
        raise UsageError("--gpus and --gpus_per_host say the same thing twice: give only one of them")


# Tasks ----------------------------------------------------------------------------------------------------------------


def make_tasks(options):
    """Places ps tasks on the first hosts and workers round robin on all hosts. The workers of one host get its GPUs in
    turn."""
    hosts = options.hosts or ["localhost"]
    ps_hosts = list(dict.fromkeys(hosts))  # a host that is named twice gets more workers, not more ps
    tasks = [Task("ps", i, ps_hosts[i % len(ps_hosts)]) for i in range(options.num_ps)]
    workers_on = collections.Counter()
    for i in range(options.num_workers):
        host = hosts[i % len(hosts)]
        gpu = options.gpus[workers_on[host] % len(options.gpus)] if options.gpus else None
        workers_on[host] += 1
        tasks.append(Task("worker", i, host, gpu))
    return tasks


def number_ports(tasks, base_port):
    """Assigns consecutive ports from base_port on each host."""
    next_port = collections.defaultdict(lambda: base_port)
    for task in tasks:
        task.port = next_port[task.host]
        next_port[task.host] += 1
        if task.port > 65535:
            raise UsageError(f"--base_port {base_port} leaves no port for {task.name}: ports end at 65535")


def port_is_free(port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free for a listener
        try:
            probe.bind(("", port))
            return True
        except OSError:
            return False


def check_ports(tasks):
    """Checks the ports of tasks that listen. A worker does not: its port is only a part of its name."""
    for task in tasks:
        if task.job == "ps" and not port_is_free(task.port):
            raise UsageError(f"port {task.port} for {task.name} is in use (or not allowed) on this host: "
                             "stop what listens there, or choose a different --base_port", EXIT_CONFLICT)


def choose_free_ports(tasks):
    """Chooses free ports below the kernel's range for outgoing connections, so that no outgoing connection can take a
    port before the task listens on it."""
    try:
        limit = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        limit = 32768
    first = 10240 if limit - 10240 >= 1000 else 1024
    candidates = list(range(first, limit)) if limit - first >= 1000 else list(range(10240, 65536))
    random.shuffle(candidates)
    for task in tasks:
        while candidates and not port_is_free(candidates[-1]):
            candidates.pop()
        if not candidates:
            raise UsageError("no free port was found on this host: stop some servers, or give --base_port",
                             EXIT_CONFLICT)
        task.port = candidates.pop()


def cluster_flags(tasks):
    return [f"--{job}_hosts=" + ",".join(task.address for task in tasks if task.job == job) for job in ("ps", "worker")]


def command_of(task, tasks, binary, program_arguments, keys=None):
    """`keys`: the folder of keys, if the cluster has them."""
    key_flags = [f"--keys={keys}"] if keys else []
    return [binary, *cluster_flags(tasks), f"--job_name={task.job}", f"--task_index={task.index}", *key_flags,
            *program_arguments]


def print_commands(tasks, binary, program_arguments, secure):
    try:
        if secure:
            print("\n".join(run_keys.printed_lines(binary, [task.host for task in tasks], cluster_flags(tasks))))
        for task in tasks:
            gpu = "" if task.gpu is None else f"CUDA_VISIBLE_DEVICES={shlex.quote(task.gpu)} "
            keys = run_keys.printed_folder(task.host) if secure else None
            print(f"# {task.name}, on {task.host}:")
            print(gpu + shlex.join(command_of(task, tasks, binary, program_arguments, keys)))
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python still writes its buffer at the end
        if not isinstance(error, BrokenPipeError):  # a closed pipe is not an error
            raise UsageError(f"standard output: {error.strerror}", EXIT_RESOURCES) from error
    return 0


def find_program(named):
    """The program from --binary, $DISTMNIST, PATH, the folder in which this file is installed, or the build folder of
    this checkout."""
    for source, path in (("--binary", named), ("$DISTMNIST", os.environ.get("DISTMNIST"))):
        if path:
            found = shutil.which(os.path.expanduser(path))
            if not found:
                raise UsageError(f"{source} {path} is not an executable file: build it with launch/build.py")
            return found
    root = pathlib.Path(__file__).resolve().parent.parent
    # If installed, this file is PREFIX/share/distmnist/launch.py.
    places = (shutil.which("distmnist"), root.parent / "bin" / "distmnist" if root.name == "share" else None,
              root / "build" / "distmnist", root / "build" / "tools" / "distmnist")
    for place in places:
        if place and os.access(place, os.X_OK) and os.path.isfile(place):
            return str(place)
    raise UsageError(f"found no distmnist on PATH nor in {root / 'build'}: build it with "
                     "launch/build.py, or name it with --binary")


def main(arguments):
    try:
        options, program_arguments = parse_arguments(arguments)
        tasks = make_tasks(options)
        if options.base_port:
            number_ports(tasks, options.base_port)
        if options.print_only:
            return print_commands(tasks, options.binary or "distmnist", program_arguments, options.secure)
        binary = find_program(options.binary)
        if options.base_port:
            check_ports(tasks)
        else:
            choose_free_ports(tasks)
        say(f"starting {binary}: " + ", ".join(f"{task.name} on {task.address}" for task in tasks))
        ps_wait_s = None if ps_stay(program_arguments) else options.ps_wait_s
        keys_of_run = run_keys.keys_of_run(binary, cluster_flags(tasks)) if options.secure else contextlib.nullcontext()
        with keys_of_run as keys:
            commands = [command_of(task, tasks, binary, program_arguments, keys) for task in tasks]
            return run_cluster(tasks, commands, options.grace_s, ps_wait_s)
    except UsageError as error:
        say(error)
        return error.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
