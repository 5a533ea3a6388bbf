#!/usr/bin/env python3
"""Compares distmnist with other programs that do the same work (TensorFlow, MXNet, PyTorch): one process with 1 and 2
threads, and 1 ps + 3 workers asynchronous and synchronous; distmnist in float32 and in bfloat16. The programs of a
comparison alternate (A B C, A B C, ...), so that other load on the machine affects all of them. The table has medians,
and the medians of the rounds' ratios.

    tests/bench/compare.sh PEERS_FOLDER [--rounds 5] [--only async] [--without TensorFlow] [--write]

PEERS_FOLDER has run.sh (PEER workers steps), tensorflow_ps.py, mxnet_kvstore.py and pytorch_single.py; $PEERS (default:
~/.cache/peers) has the Pythons tf/bin/python, mx/bin/python and pt/bin/python. A peer without its Python is omitted,
and a line reports it. --write puts the table into docs/benchmarks.md.
"""

import argparse
import datetime
import os
import pathlib
import signal
import statistics
import sys
import textwrap

from processes import Job, RunFailed, first_step_s, global_steps_per_s, numbers, run_all
from report import ROOT, commit, machine, markdown, median_and_all, median_of, median_ratio

# Variants of distmnist by name: their flags, and the additional flags in a cluster.
OURS = {"distmnist": [], "distmnist, bf16": ["--precision=bf16"]}
OURS_ON_THE_WIRE = {"distmnist": [], "distmnist, bf16": ["--wire_dtype=bf16"]}
WORKERS = 3
TIME_PROGRAM = pathlib.Path("/usr/bin/time")  # run.sh measures memory with it
BEGIN, END = "<!-- compare.sh: begin -->", "<!-- compare.sh: end -->"
HEADING = "## Beside other programs"
COLUMNS = 119  # of the page


class Figures:
    """The figures of one run: batches of all workers per second; MB of the process with the most memory; seconds from
    the start to the first step (of the last worker), or None if the program does not report it."""

    def __init__(self, rate, memory_mb, first_step_s=None):
        self.rate, self.memory_mb, self.first_step_s = rate, memory_mb, first_step_s


# ---- What the programs print ----

def distmnist_rate(text, batches_per_step):
    steps_per_s = global_steps_per_s(text)
    return None if steps_per_s is None else steps_per_s * batches_per_step


def tensorflow_rate(text, batches_per_step):
    """The same, from global steps, because the workers' own rates cover different times."""
    rates = numbers(r"^RATE worker \d+ global_steps/s ([0-9.]+)", text)
    return statistics.median(rates) * batches_per_step if rates else None


def mxnet_rate(text, _):
    """A worker only knows its own steps, each with one batch."""
    return sum(numbers(r"^mxnet \S+ worker \d+: ([0-9.]+) local steps/s", text)) or None


def pytorch_rate(text, _):
    """The rate of the median step."""
    rates = numbers(r"^torch .*-> ([0-9.]+) steps/s", text)
    return rates[-1] if rates else None


def memory_mb(text):
    """The memory of the largest process; None if no process reports it."""
    kilobytes = numbers(r"peak memory (\d+) KB", text) + numbers(r"VmHWM:\s+(\d+) kB", text)
    megabytes = numbers(r"peak memory ([0-9.]+) MB", text) + [kilobyte / 1024 for kilobyte in kilobytes]
    return max(megabytes, default=None)


# ---- The programs ----

class Program:
    """A program in a comparison. `batches` is the number of batches of a run, all workers together, unless --steps is
    given; `commands(options)` are the processes of a run, each with its environment variables; `fault(options)` is the
    reason why the program cannot run, or None."""

    def __init__(self, name, read_rate, batches, batches_per_step=1):
        self.name, self.read_rate, self.batches, self.batches_per_step = name, read_rate, batches, batches_per_step

    def batches_of(self, options):
        return options.steps or self.batches

    def figures(self, text, largest_mb):
        """The figures from the output of all processes of a run; uses largest_mb if the output does not contain the
        memory."""
        rate = self.read_rate(text, self.batches_per_step)
        if rate is None:
            raise RunFailed(f"{self.name} printed no rate:\n{text[-2000:]}")
        return Figures(rate, memory_mb(text) or largest_mb, first_step_s(text))


class Distmnist(Program):
    """A variant of distmnist, named after its flags in OURS."""

    def __init__(self, name, batches, flags=(), workers=0, threads=1, batches_per_step=1):
        super().__init__(name, distmnist_rate, batches, batches_per_step)
        self.job = Job(name, [*OURS[name], *flags], workers, threads=threads, batches_per_step=batches_per_step)
        if workers:
            self.job.flags += OURS_ON_THE_WIRE[name]

    def fault(self, _):
        return None

    def commands(self, options):
        return [(command, {})
                for command in self.job.commands(options.binary, options.data_dir, self.batches_of(options))]


class Peer(Program):
    """`environment` is the folder of its Python; `arguments(steps)` is the command in PEERS_FOLDER, in which "PYTHON"
    stands for that Python, and `variables(steps)` its environment variables."""

    def __init__(self, name, environment, read_rate, batches, arguments, variables=lambda steps: {},
                 batches_per_step=1):
        super().__init__(name, read_rate, batches, batches_per_step)
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
        steps = self.batches_of(options)
        command = [python if argument == "PYTHON" else argument for argument in self.arguments(steps)]
        return [(command, {"PEERS": str(options.environments), "MNIST_DIR": str(options.data_dir),
                           **self.variables(steps)})]


def run_sh(peer, batches_per_step_and_worker):
    """Arguments of PEERS_FOLDER/run.sh for a total number of batches."""
    return lambda steps: ["./run.sh", peer, str(WORKERS), str(max(1, steps // batches_per_step_and_worker))]


def pytorch(name, batches, threads, *words):
    return Peer(name, "pt", pytorch_rate, batches, lambda steps: ["PYTHON", "pytorch_single.py", str(threads), *words],
                lambda steps: {"STEPS": str(steps), "OMP_NUM_THREADS": str(threads)})


def mxnet(threads):
    return Peer("MXNet", "mx", mxnet_rate, 300, lambda steps: ["PYTHON", "mxnet_kvstore.py"],
                lambda steps: {"STEPS": str(steps), "OMP_NUM_THREADS": str(threads), "KV": "none"})


def ours(batches, **arguments):
    return [Distmnist(name, batches, **arguments) for name in OURS]


# Batches: enough for a steady rate, but few enough that everything takes about 40 minutes on two cores. TensorFlow's
# clusters take most of that time, because a worker that finds that the model is not ready sleeps for 30 s before it
# joins. PyTorch's rate does not include its first 50 steps.
COMPARISONS = {
    "one process, 1 thread": [
        *ours(600),
        Peer("TensorFlow", "tf", tensorflow_rate, 300, run_sh("tf-local", 1)),
        pytorch("PyTorch", 250, 1),
        pytorch("PyTorch, bf16", 120, 1, "bf16"),
        mxnet(1),
    ],
    "one process, 2 threads": [
        *ours(600, threads=2),
        Peer("TensorFlow", "tf", tensorflow_rate, 300,
             lambda steps: ["PYTHON", "tensorflow_ps.py", "--job_name=local", f"--steps={steps}", "--intra=2"]),
        pytorch("PyTorch", 250, 2),
        pytorch("PyTorch, bf16", 120, 2, "bf16"),
        mxnet(2),
    ],
    "1 ps + 3 workers, async": [
        *ours(1200, workers=WORKERS),
        Peer("TensorFlow", "tf", tensorflow_rate, 1800, run_sh("tf-async", 1)),
        Peer("MXNet, dist_async", "mx", mxnet_rate, 600, run_sh("mxnet-async", WORKERS)),  # its steps are one worker's
    ],
    "1 ps + 3 workers, sync": [
        *ours(1200, workers=WORKERS, flags=["--sync_replicas"], batches_per_step=WORKERS),
        Peer("TensorFlow", "tf", tensorflow_rate, 1800, run_sh("tf-sync", WORKERS),
             batches_per_step=WORKERS),
        Peer("MXNet, dist_sync", "mx", mxnet_rate, 600, run_sh("mxnet-sync", WORKERS)),
    ],
}


# ---- Running ----

def run(program, options):
    """The figures of one run; raises RunFailed."""
    folder = options.peers if isinstance(program, Peer) else None
    return program.figures(*run_all(program.name, program.commands(options), folder))


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
    """{program's name: [Figures of each round]}. A program with a failed run is removed from all rounds. Without a
    variant of distmnist or without a peer the result is empty."""
    programs = able_to_take_part(title, programs, options, say)
    results = {program.name: [] for program in programs}
    for number in range(1, options.rounds + 1):
        for program in programs:
            if program.name not in results or not is_comparison(results):
                continue
            try:
                figures = run(program, options)
            except RunFailed as error:
                say(f"{title}: {program.name} is left out because a run failed: {error}")
                del results[program.name]
                continue
            results[program.name].append(figures)
            say(f"{title}: round {number}: {program.name}: {figures.rate:.1f} batches/s, {figures.memory_mb:.0f} MB")
    if not is_comparison(results):
        say(f"{title}: there are not two programs to compare.")
        return {}
    return results


def is_comparison(results):
    """True if a variant of distmnist and a peer are present."""
    return 0 < sum(name in OURS for name in results) < len(results)


# ---- The table ----

HEADINGS = ["program", "batches", "batches/s, median (all)", *(f"{name} to it" for name in OURS), "peak MB",
            "first step, s"]


def rates_of(results, name):
    return [each.rate for each in results.get(name, [])]


def rows(title, results, batches):
    """The rows of one comparison; `batches`: {program's name: batches of a run}."""
    cells = []
    for name, figures in results.items():
        rates = rates_of(results, name)
        ratios = ["-" if name == mine else median_ratio(rates_of(results, mine), rates) for mine in OURS]
        cells.append([f"{title}: {name}", str(batches[name]), median_and_all(rates, ".1f"), *ratios,
                      median_of([each.memory_mb for each in figures], ".0f"),
                      median_of([each.first_step_s for each in figures], ".2f")])
    return cells


def section(cells, options, today):
    about = (f"`tests/bench/compare.sh`: {options.rounds} rounds in turns; ratios are medians of the rounds' own, and "
             f"memory is that of the largest process. Batch 50. {machine()}; {today}; commit {commit()}.")
    return [*textwrap.wrap(about, COLUMNS), "", *markdown(HEADINGS, cells)]


def with_section(page, lines):
    """The page with `lines` between its two marker comments, which are added at the end of the page if they are
    missing."""
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
    parser.add_argument("--rounds", type=int, default=5, help="rounds; at least 5 to write the table (default: 5)")
    parser.add_argument("--steps", type=int,
                        help="batches of every run (default: depends on the program; TensorFlow's clusters 1800)")
    parser.add_argument("--only", default="", help="comparisons with this in their name: " + "; ".join(COMPARISONS))
    parser.add_argument("--without", default=[], action="append", metavar="NAME",
                        help="omit programs with this in their name; can be repeated")
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
    if options.rounds < 1 or (options.steps is not None and options.steps < 1):
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # runs the cleanup of a run's processes
    cells = []
    for title, programs in COMPARISONS.items():
        if options.only in title:
            taking_part = [each for each in programs if not any(part in each.name for part in options.without)]
            results = measure(title, taking_part, options, say)
            cells += rows(title, results, {each.name: each.batches_of(options) for each in taking_part})
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
