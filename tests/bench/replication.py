#!/usr/bin/env python3
"""Measures the replication strategies: test accuracy and batches per second of whole runs with real processes, 1 ps and
some workers on this host, each run with the same number of batches. Runs alternate in rounds, so that other load on the
machine affects all of them; the table has the medians.

    tests/bench/replication.py --binary build/tools/distmnist --data_dir DIR [--rounds 3] [--only sync]

A slowed worker is stopped (SIGSTOP) for four fifths of the time, or runs with nice 19.
"""

import argparse
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

from processes import Job, global_steps_per_s
from report import machine, markdown, median_and_all

SLICE_S = 0.01  # a slowed worker runs for one slice in five
RUN_LIMIT_S = 600.0


class Strategy(Job):
    """The run, and how worker 2 is slowed ("", "stop" or "nice")."""

    def __init__(self, name, flags, workers=3, batches_per_step=1, slowed=""):
        super().__init__(name, flags, workers, batches_per_step=batches_per_step)
        self.slowed = slowed


STRATEGIES = [
    Strategy("async", []),
    Strategy("sync R=3", ["--sync_replicas"], batches_per_step=3),
    Strategy("sync R=2 of 2 workers", ["--sync_replicas"], workers=2, batches_per_step=2),
    Strategy("sync R=2, one of 3 slowed (stop)", ["--sync_replicas", "--replicas_to_aggregate=2"], batches_per_step=2,
             slowed="stop"),
    Strategy("sync R=2, one of 3 slowed (nice)", ["--sync_replicas", "--replicas_to_aggregate=2"], batches_per_step=2,
             slowed="nice"),
    Strategy("sync R=3, one of 3 slowed (stop)", ["--sync_replicas"], batches_per_step=3, slowed="stop"),
    Strategy("SSP S=0", ["--max_staleness=0"]),
    Strategy("SSP S=2", ["--max_staleness=2"]),
    Strategy("SSP S=8", ["--max_staleness=8"]),
]


def slow_down(process):
    """Lets the process run for a fifth of the time until it has ended."""
    while process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        time.sleep(4 * SLICE_S)
        process.send_signal(signal.SIGCONT)
        time.sleep(SLICE_S)


def run(strategy, options, folder):
    """(test accuracy, batches per second) of one run, from worker 0."""
    processes = []
    for index, command in enumerate(strategy.commands(options.binary, options.data_dir, options.batches)):
        slowed = index == 3  # worker 2, because the ps comes first
        nice = ["nice", "-n", "19"] if slowed and strategy.slowed == "nice" else []
        with open(folder / f"{index}.out", "wb") as out, open(folder / f"{index}.err", "wb") as err:
            process = subprocess.Popen([*nice, *command], stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        processes.append(process)
        if slowed and strategy.slowed == "stop":
            threading.Thread(target=slow_down, args=(process,), daemon=True).start()
    try:
        codes = [process.wait(RUN_LIMIT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    out, err = (folder / "1.out").read_text(), (folder / "1.err").read_text()  # worker 0
    if any(codes):
        sys.exit(f"{strategy.name}: exit codes {codes}\n{err[-3000:]}")
    accuracy = float(re.search(r"^test_accuracy=([0-9.]+)", out, re.MULTILINE).group(1))
    return accuracy, global_steps_per_s(err) * strategy.batches_per_step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--batches", type=int, default=2000, help="batches of all workers together (default: 2000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="only strategies with this in their name")
    options = parser.parse_args()
    strategies = [strategy for strategy in STRATEGIES if options.only in strategy.name]
    results = {strategy.name: [] for strategy in strategies}
    for number in range(options.rounds):
        for strategy in strategies:
            with tempfile.TemporaryDirectory() as folder:
                results[strategy.name].append(run(strategy, options, pathlib.Path(folder)))
            accuracy, rate = results[strategy.name][-1]
            print(f"round {number + 1}: {strategy.name}: {rate:.1f} batches/s, {accuracy:.4f}", file=sys.stderr)
    print(f"{options.batches} batches, {options.rounds} rounds in turns. {machine()}.\n")
    cells = [[name, median_and_all([rate for _, rate in values], ".1f"),
              median_and_all([accuracy for accuracy, _ in values], ".4f")] for name, values in results.items()]
    print("\n".join(markdown(["strategy", "batches/s, median (all)", "test accuracy, median (all)"], cells)))


if __name__ == "__main__":
    main()
