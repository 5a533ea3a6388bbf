#!/usr/bin/env python3
"""Measures the replication strategies: test accuracy and batches per second of whole runs of real processes, 1 ps and
some workers on this host, each run with the same number of batches. Runs come in rounds, so that what else the machine
does falls on all of them; the table has the medians.

    tests/bench/replication.py --binary build/tools/distmnist --data_dir DIR [--rounds 3] [--only sync]

A slowed worker is stopped (SIGSTOP) for four fifths of the time, or runs with nice 19.
"""

import argparse
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

SLICE_S = 0.01  # a slowed worker runs for one slice of five
RUN_LIMIT_S = 600.0


class Strategy:
    """What to run: flags, workers, batches to a global step, and how worker 2 is slowed ("", "stop" or "nice")."""

    def __init__(self, name, flags, workers=3, batches_per_step=1, slowed=""):
        self.name, self.flags, self.workers = name, flags, workers
        self.batches_per_step, self.slowed = batches_per_step, slowed


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


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for probe in sockets:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in sockets]
    for probe in sockets:
        probe.close()
    return ports


def slow_down(process):
    """Lets the process run for a fifth of the time, until it has ended."""
    while process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        time.sleep(4 * SLICE_S)
        process.send_signal(signal.SIGCONT)
        time.sleep(SLICE_S)


def run(strategy, options, folder):
    """(test accuracy, batches per second) of one run, by worker 0."""
    ports = free_ports(1 + strategy.workers)
    steps = max(1, round(options.batches / strategy.batches_per_step))
    command = [options.binary, f"--ps_hosts=127.0.0.1:{ports[0]}",
               "--worker_hosts=" + ",".join(f"127.0.0.1:{port}" for port in ports[1:]), f"--data_dir={options.data_dir}",
               f"--train_steps={steps}", "--progress=none", "--intra_op_parallelism_threads=1", *strategy.flags]
    processes = []
    for job, index in [("ps", 0)] + [("worker", index) for index in range(strategy.workers)]:
        slowed = job == "worker" and index == 2
        nice = ["nice", "-n", "19"] if slowed and strategy.slowed == "nice" else []
        with open(folder / f"{job}{index}.out", "wb") as out, open(folder / f"{job}{index}.err", "wb") as err:
            process = subprocess.Popen([*nice, *command, f"--job_name={job}", f"--task_index={index}"], stdout=out,
                                       stderr=err, stdin=subprocess.DEVNULL)
        processes.append(process)
        if slowed and strategy.slowed == "stop":
            threading.Thread(target=slow_down, args=(process,), daemon=True).start()
    try:
        codes = [process.wait(RUN_LIMIT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    out, err = (folder / "worker0.out").read_text(), (folder / "worker0.err").read_text()
    if any(codes):
        sys.exit(f"{strategy.name}: exit codes {codes}\n{err[-3000:]}")
    accuracy = float(re.search(r"^test_accuracy=([0-9.]+)", out, re.MULTILINE).group(1))
    rate = float(re.search(r"trained until global_step \d+ at ([0-9.]+) global steps/s", err).group(1))
    return accuracy, rate * strategy.batches_per_step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--batches", type=int, default=2000, help="of all workers together (default: 2000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="strategies with this in their name")
    options = parser.parse_args()
    strategies = [strategy for strategy in STRATEGIES if options.only in strategy.name]
    results = {strategy.name: [] for strategy in strategies}
    for number in range(options.rounds):
        for strategy in strategies:
            with tempfile.TemporaryDirectory() as folder:
                results[strategy.name].append(run(strategy, options, pathlib.Path(folder)))
            accuracy, rate = results[strategy.name][-1]
            print(f"round {number + 1}: {strategy.name}: {rate:.1f} batches/s, {accuracy:.4f}", file=sys.stderr)
    print(f"{options.batches} batches, {os.cpu_count()} cores, {options.rounds} rounds\n")
    print("| strategy | batches/s, median (all) | test accuracy, median (all) |\n|---|---|---|")
    for name, values in results.items():
        accuracies, rates = zip(*values)
        print(f"| {name} | {statistics.median(rates):.1f} ({', '.join(f'{rate:.1f}' for rate in rates)}) "
              f"| {statistics.median(accuracies):.4f} ({', '.join(f'{value:.4f}' for value in accuracies)}) |")


if __name__ == "__main__":
    main()
