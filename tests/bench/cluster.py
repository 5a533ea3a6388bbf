#!/usr/bin/env python3
"""Measures whole runs of distmnist on this host: local with 1 and 2 threads, and 1 ps with 1, 2 and 3 workers,
asynchronous and synchronous. Batches per second, the time to the first step and the peak memory of each role come from
the program's log. Runs alternate in rounds, so that other load on the machine affects all of them; the table has
medians.

    tests/bench/cluster.py --data_dir DIR [--rounds 5] [--batches 1500] [--only async] [--keys] [-- --precision=bf16]

Flags after "--" are given to every process. With --keys each cluster also runs a second time with keys.
"""

import argparse
import datetime
import pathlib
import subprocess
import sys
import tempfile

import processes
from report import ROOT, commit, machine, markdown, median_and_all, median_of

JOBS = [
    *(processes.Job(f"local, {threads} thread{'s' if threads > 1 else ''}", threads=threads) for threads in (1, 2)),
    *(processes.Job(f"async, {workers} worker{'s' if workers > 1 else ''}", workers=workers) for workers in (1, 2, 3)),
    *(processes.Job(f"sync, {workers} worker{'s' if workers > 1 else ''}", ["--sync_replicas"], workers,
                    batches_per_step=workers) for workers in (1, 2, 3)),
]
HEADINGS = ["run", "batches/s, median (all)", "first step after, s", "peak memory, MB: chief", "largest other worker",
            "ps"]


def row(name, figures):
    return [name, median_and_all([each.rate for each in figures], ".1f"),
            median_of([each.first_step_s for each in figures], ".2f"),
            *(median_of([getattr(each, role) for each in figures], ".0f")
              for role in ("chief_mb", "worker_mb", "ps_mb"))]


def say(line):
    print(line, file=sys.stderr, flush=True)


def add_common_arguments(parser):
    """Arguments of all benchmarks that run distmnist; read them with split_arguments()."""
    parser.add_argument("--binary", default=str(ROOT / "build" / "tools" / "distmnist"))
    parser.add_argument("--data_dir", required=True, type=lambda text: pathlib.Path(text).resolve(), help="MNIST")


def split_arguments(arguments):
    """(our own arguments, those after "--")."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1:]


def and_with_keys(jobs, binary, folder):
    """The jobs, and after each cluster the same one with keys, which are created in the folder."""
    keys = pathlib.Path(folder) / "keys"
    tasks = f"ps:1,worker:{max(job.workers for job in JOBS)}"
    subprocess.run([binary, "keygen", str(keys), f"--tasks={tasks}"], check=True, stdout=subprocess.DEVNULL)
    for job in jobs:
        yield job
        if job.workers:
            yield processes.Job(f"{job.name}, keys", [*job.flags, f"--keys={keys}"], job.workers,
                                batches_per_step=job.batches_per_step)


def main(arguments=None):
    own, flags = split_arguments(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--batches", type=int, default=1500, help="batches per run, of all workers (default: 1500)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="only runs with this in their name: " +
                        "; ".join(job.name for job in JOBS))
    parser.add_argument("--keys", action="store_true", help="run each cluster a second time with keys")
    options = parser.parse_args(own)
    jobs = [job for job in JOBS if options.only in job.name]
    for job in jobs:
        job.flags += flags
    with tempfile.TemporaryDirectory() as folder:
        if options.keys:
            jobs = list(and_with_keys(jobs, options.binary, folder))
        results = processes.run_in_rounds(jobs, options.rounds,
                                          lambda job: processes.run_job(job, options, options.batches), say)
    said = [*(["--keys"] if options.keys else []), *(["--", *flags] if flags else [])]
    print(f"`tests/bench/cluster.py {' '.join(said)}`: {options.rounds} rounds in turns, "
          f"{options.batches} batches in all a run. {machine()}; {datetime.date.today()}; commit {commit()}.\n")
    print("\n".join(markdown(HEADINGS, [row(name, figures) for name, figures in results.items()])))
    return 0 if len(results) == len(jobs) else 1


if __name__ == "__main__":
    sys.exit(main())
