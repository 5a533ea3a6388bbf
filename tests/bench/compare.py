#!/usr/bin/env python3
"""Measures distmnist beside other programs that do the same work (TensorFlow, MXNet, PyTorch): one process, 1 ps + 3
workers asynchronous, and synchronous. Programs of a comparison take turns (A B C, A B C, ...), so that what else the
machine does falls on all of them; the table has medians, and the median of the rounds' ratios.

    tests/bench/compare.sh PEERS_FOLDER [--rounds 5] [--steps 3000] [--only async] [--write]

PEERS_FOLDER has run.sh (PEER workers steps), mxnet_kvstore.py and pytorch_single.py; $PEERS (default: ~/.cache/peers)
has the Pythons tf/bin/python, mx/bin/python and pt/bin/python. A peer without its Python is left out, with a line that
says so. --write puts the table into docs/benchmarks.md.
"""

import argparse
import datetime
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from replication import free_ports

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = "distmnist"
WORKERS = 3
RUN_LIMIT_S = 1800.0
TIME_PROGRAM = pathlib.Path("/usr/bin/time")  # run.sh has it measure memory
BEGIN, END = "<!-- compare.sh: begin -->", "<!-- compare.sh: end -->"
HEADING = "## Beside other programs"


class RunFailed(Exception):
    """A run without figures; the message says which and why."""


class Figures:
    """Of one run: batches of all workers per second; MB of the process with the most memory; seconds from the start to
    the first step (of the last worker), None where the program does not say."""

    def __init__(self, rate, memory_mb, first_step_s=None):
        self.rate, self.memory_mb, self.first_step_s = rate, memory_mb, first_step_s


def numbers(pattern, text):
    return [float(number) for number in re.findall(pattern, text, re.MULTILINE)]


# ---- What the programs print ----

def distmnist_rate(text, batches_per_step):
    """Every worker sees the global steps of all."""
    rates = numbers(r"trained until global_step \d+ at ([0-9.]+) global steps/s", text)
    return statistics.median(rates) * batches_per_step if rates else None


def tensorflow_rate(text, batches_per_step):
    """The same: of global steps, because the workers' own rates are of different times."""
    rates = numbers(r"^RATE worker \d+ global_steps/s ([0-9.]+)", text)
    return statistics.median(rates) * batches_per_step if rates else None


def mxnet_rate(text, _):
    """A worker knows its own steps only, each of one batch."""
    return sum(numbers(r"^mxnet \S+ worker \d+: ([0-9.]+) local steps/s", text)) or None


def pytorch_rate(text, _):
    """Of the median step."""
    rates = numbers(r"^torch .*-> ([0-9.]+) steps/s", text)
    return rates[-1] if rates else None


def memory_mb(text):
    """Of the process with the most; None where nothing is said."""
    kilobytes = numbers(r"peak memory (\d+) KB", text) + numbers(r"VmHWM:\s+(\d+) kB", text)
    megabytes = numbers(r"peak memory ([0-9.]+) MB", text) + [kilobyte / 1024 for kilobyte in kilobytes]
    return max(megabytes, default=None)


def first_step_s(text):
    return max(numbers(r"first step ([0-9.]+) s after the start", text), default=None)


# ---- The programs ----

class Program:
    """What takes part. `commands(options)` are the processes of a run, each with what is set in its environment;
    `fault(options)` says why it cannot take part, or is None."""

    def __init__(self, name, read_rate, batches_per_step=1):
        self.name, self.read_rate, self.batches_per_step = name, read_rate, batches_per_step

    def figures(self, text, largest_mb):
        """Of what all processes of a run printed; largest_mb where that does not speak of memory."""
        rate = self.read_rate(text, self.batches_per_step)
        if rate is None:
            raise RunFailed(f"{self.name} printed no rate:\n{text[-2000:]}")
        return Figures(rate, memory_mb(text) or largest_mb, first_step_s(text))


class Distmnist(Program):
    def __init__(self, name, flags=(), workers=0, batches_per_step=1):
        super().__init__(name, distmnist_rate, batches_per_step)
        self.flags, self.workers = list(flags), workers

    def fault(self, _):
        return None

    def commands(self, options):
        common = [options.binary, f"--data_dir={options.data_dir}", "--progress=none",
                  "--intra_op_parallelism_threads=1",
                  f"--train_steps={max(1, options.steps // self.batches_per_step)}", *self.flags]
        if self.workers == 0:
            return [(common, {})]
        ports = free_ports(1 + self.workers)
        common += [f"--ps_hosts=127.0.0.1:{ports[0]}",
                   "--worker_hosts=" + ",".join(f"127.0.0.1:{port}" for port in ports[1:])]
        tasks = [("ps", 0)] + [("worker", index) for index in range(self.workers)]
        return [([*common, f"--job_name={job}", f"--task_index={index}"], {}) for job, index in tasks]


class Peer(Program):
    """`environment` is the folder of its Python; `arguments(steps)` what is run in PEERS_FOLDER, "PYTHON" standing for
    that Python, and `variables(steps)` what is set for it."""

    def __init__(self, name, environment, read_rate, arguments, variables=lambda steps: {}, batches_per_step=1):
        super().__init__(name, read_rate, batches_per_step)
        self.environment, self.arguments, self.variables = environment, arguments, variables

    def fault(self, options):
        python = options.environments / self.environment / "bin" / "python"
        if not os.access(python, os.X_OK):
            return f"{python} is not there; README.md in {options.peers} says how to set it up"
        if "./run.sh" in self.arguments(1) and not options.time_program.exists():
            return f"{options.time_program}, which measures its memory, is not there (Debian's package time)"
        return None

    def commands(self, options):
        python = str(options.environments / self.environment / "bin" / "python")
        command = [python if argument == "PYTHON" else argument for argument in self.arguments(options.steps)]
        return [(command, {"PEERS": str(options.environments), "MNIST_DIR": str(options.data_dir),
                           **self.variables(options.steps)})]


def run_sh(peer, batches_per_step_and_worker):
    """Arguments of PEERS_FOLDER/run.sh for a number of batches in all."""
    return lambda steps: ["./run.sh", peer, str(WORKERS), str(max(1, steps // batches_per_step_and_worker))]


def one_thread(steps):
    return {"STEPS": str(steps), "OMP_NUM_THREADS": "1"}


# Each is led by distmnist, which the others are compared with. Every run is of the same number of batches in all.
COMPARISONS = {
    "one process, 1 thread": [
        Distmnist(OURS),
        Peer("TensorFlow", "tf", tensorflow_rate, run_sh("tf-local", 1)),
        Peer("PyTorch", "pt", pytorch_rate, lambda steps: ["PYTHON", "pytorch_single.py", "1"], one_thread),
        Peer("MXNet", "mx", mxnet_rate, lambda steps: ["PYTHON", "mxnet_kvstore.py"],
             lambda steps: {**one_thread(steps), "KV": "none"}),
    ],
    "1 ps + 3 workers, async": [
        Distmnist(OURS, workers=WORKERS),
        Peer("TensorFlow", "tf", tensorflow_rate, run_sh("tf-async", 1)),
        Peer("MXNet, dist_async", "mx", mxnet_rate, run_sh("mxnet-async", WORKERS)),  # its steps are a worker's own
    ],
    "1 ps + 3 workers, sync": [
        Distmnist(OURS, ["--sync_replicas"], workers=WORKERS, batches_per_step=WORKERS),
        Peer("TensorFlow, SyncReplicas", "tf", tensorflow_rate, run_sh("tf-sync", WORKERS), batches_per_step=WORKERS),
        Peer("MXNet, dist_sync", "mx", mxnet_rate, run_sh("mxnet-sync", WORKERS)),
    ],
}


# ---- Running ----

def kill_group(process):
    """With what it started, that outlived it too."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def wait_for_all(name, processes):
    """MB of the largest process, of those that the processes waited for too. RunFailed with the first one that fails,
    for the others may wait for it."""
    end, running, largest_mb = time.monotonic() + RUN_LIMIT_S, list(processes), 0.0
    while running:
        for process in list(running):
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid == 0:
                continue
            running.remove(process)
            process.returncode = os.waitstatus_to_exitcode(status)
            largest_mb = max(largest_mb, usage.ru_maxrss / 1024)
            if process.returncode != 0:
                raise RunFailed(f"{name}: exit code {process.returncode}")
        if time.monotonic() > end:
            raise RunFailed(f"{name}: not done within {RUN_LIMIT_S:g} s")
        time.sleep(0.05)
    return largest_mb


def run(program, options):
    """The figures of one run; RunFailed."""
    processes = []
    folder = options.peers if isinstance(program, Peer) else None
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            for command, variables in program.commands(options):
                processes.append(subprocess.Popen(command, cwd=folder, env={**os.environ, **variables}, stdout=output,
                                                  stderr=output, stdin=subprocess.DEVNULL, start_new_session=True))
            largest_mb = wait_for_all(program.name, processes)
        except (OSError, RunFailed) as error:
            output.seek(0)
            raise RunFailed(f"{error}\n{output.read()[-2000:]}") from error
        finally:
            for process in processes:
                kill_group(process)
                process.wait()
        output.seek(0)
        return program.figures(output.read(), largest_mb)


def able_to_take_part(title, programs, options, say):
    able = []
    for program in programs:
        fault = program.fault(options)
        if fault:
            say(f"{title}: {program.name} is left out: {fault}.")
        else:
            able.append(program)
    return able


def measure(title, programs, options, say):
    """{program's name: [Figures of each round]}. A program with a run that fails is left out of all rounds; without
    distmnist, or without a peer, there is nothing."""
    programs = able_to_take_part(title, programs, options, say)
    results = {program.name: [] for program in programs}
    for number in range(1, options.rounds + 1):
        for program in programs:
            if program.name not in results or not is_comparison(results):
                continue
            try:
                figures = run(program, options)
            except RunFailed as error:
                say(f"{title}: {program.name} is left out, for a run failed: {error}")
                del results[program.name]
                continue
            results[program.name].append(figures)
            say(f"{title}: round {number}: {program.name}: {figures.rate:.1f} batches/s, {figures.memory_mb:.0f} MB")
    if not is_comparison(results):
        say(f"{title}: there are not two programs to compare.")
        return {}
    return results


def is_comparison(results):
    return OURS in results and len(results) > 1


# ---- The table ----

HEADINGS = ["program", "batches/s, median (all)", "distmnist to it, median of rounds",
            "peak memory, largest process, MB", "first step after, s"]


def median_of(values, form):
    known = [value for value in values if value is not None]
    return format(statistics.median(known), form) if known else "-"


def rows(title, results):
    """The rows of one comparison."""
    ours = results.get(OURS)
    cells = []
    for name, figures in results.items():
        rates = [each.rate for each in figures]
        # Each round by itself: its runs followed each other.
        ratios = [mine.rate / each.rate for mine, each in zip(ours, figures)]
        all_rates = ", ".join(f"{rate:.1f}" for rate in rates)
        cells.append([f"{title}: {name}", f"{statistics.median(rates):.1f} ({all_rates})",
                      "-" if figures is ours else f"{statistics.median(ratios):.2f}",
                      median_of([each.memory_mb for each in figures], ".0f"),
                      median_of([each.first_step_s for each in figures], ".2f")])
    return cells


def markdown(headings, cells):
    return ["| " + " | ".join(row) + " |" for row in [headings, ["---"] * len(headings), *cells]]


def machine():
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    name = model.group(1) if model else os.uname().machine
    vectors = [word for word in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if re.search(rf"\b{word}\b", cpuinfo)]
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {name} ({', '.join(vectors) or 'no AVX2'}), {memory_gib:.0f} GiB"


def commit():
    """Of the program; "an unknown commit" outside of a checkout."""
    def git(*arguments):
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    head = git("rev-parse", "--short", "HEAD")
    return (head or "an unknown commit") + (" with changes" if git("status", "--porcelain", "-uno") else "")


def section(cells, options, today):
    return [f"`tests/bench/compare.sh`: {options.rounds} rounds in turns, {options.steps} batches in all a run, "
            f"batch 50. {machine()}; {today}; commit {commit()}.", "", *markdown(HEADINGS, cells)]


def with_section(page, lines):
    """The page with `lines` between its two marker comments; these are made, at the page's end, where it has none."""
    if BEGIN not in page:
        page = page.rstrip("\n") + f"\n\n{HEADING}\n\n{BEGIN}\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"docs/benchmarks.md has '{BEGIN}' without '{END}' below it; put that back first.")
    return before + "\n".join([BEGIN, *lines, END]) + after


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", type=pathlib.Path, metavar="PEERS_FOLDER")
    parser.add_argument("--rounds", type=int, default=5, help="at least 5 where the table is written (default: 5)")
    parser.add_argument("--steps", type=int, default=3000,
                        help="batches in all of a run (default: 3000; TensorFlow's clusters need that many)")
    parser.add_argument("--only", default="", help="comparisons with this in their name")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--binary", default=str(ROOT / "build" / "tools" / "distmnist"))
    parser.add_argument("--data_dir", type=pathlib.Path,
                        help="MNIST (default: $MNIST_DIR, or mnist beside PEERS_FOLDER)")
    parser.add_argument("--page", type=pathlib.Path, default=ROOT / "docs" / "benchmarks.md", help=argparse.SUPPRESS)
    parser.add_argument("--time_program", type=pathlib.Path, default=TIME_PROGRAM, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.peers = options.peers.resolve()
    options.environments = pathlib.Path(os.environ.get("PEERS") or pathlib.Path.home() / ".cache" / "peers").resolve()
    data_dir = options.data_dir or pathlib.Path(os.environ.get("MNIST_DIR") or options.peers.parent / "mnist")
    options.data_dir = data_dir.resolve()
    options.binary = str(pathlib.Path(options.binary).resolve())
    if not (options.peers / "run.sh").is_file():
        parser.error(f"{options.peers} has no run.sh, which starts the peers")
    if not os.access(options.binary, os.X_OK):
        parser.error(f"{options.binary} is not there: build it, or name it with --binary")
    if not options.data_dir.is_dir():
        parser.error(f"{options.data_dir} is not there: name the folder of MNIST with --data_dir")
    if options.rounds < 1 or options.steps < 1:
        parser.error("--rounds and --steps are at least 1")
    if options.write and options.rounds < 5:
        parser.error(f"--write takes at least 5 rounds, for medians that mean something; --rounds is {options.rounds}")
    if not any(options.only in title for title in COMPARISONS):
        parser.error(f"no comparison has '{options.only}' in its name: " + "; ".join(COMPARISONS))
    return options


def say(line):
    print(line, file=sys.stderr, flush=True)


def main(arguments=None):
    options = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by way of what ends a run's processes
    cells = []
    for title, programs in COMPARISONS.items():
        if options.only in title:
            cells += rows(title, measure(title, programs, options, say))
    if not cells:
        print("Nothing could be compared; the lines above say why.")
        return 1
    lines = section(cells, options, datetime.datetime.now(datetime.timezone.utc).date())
    print("\n".join(lines))
    if options.write:
        options.page.write_text(with_section(options.page.read_text(), lines))
        print(f"Written into {options.page}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
