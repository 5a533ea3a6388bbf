"""Runs the whole program, as a local run or as a cluster on this host, and reads the results from its log."""

import pathlib
import re
import subprocess
import sys
import time

LAUNCHER = pathlib.Path(__file__).resolve().parents[3] / "launch" / "launch.py"

NUMBER = r"(\d+(?:\.\d+)?)"
RATE = re.compile(rf"(\S+)\] trained until global_step (\d+) at {NUMBER} global steps/s")
TIME = re.compile(rf"(worker:\d+)\] time per step {NUMBER} ms: compute {NUMBER}, push {NUMBER}, wait {NUMBER} "
                  rf"\(for other workers {NUMBER}\), pull {NUMBER}")
ACCURACY = re.compile(r"^test_accuracy=([0-9.]+) global_step=(\d+)$", re.MULTILINE)


class RunFailed(Exception):
    pass


def run(command, limit_s):
    """(standard output, standard error, wall seconds) of a command that must succeed."""
    before_s = time.monotonic()
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"still running after {limit_s:.0f} s: {' '.join(command)}") from None
    except OSError as error:
        raise RunFailed(str(error)) from None
    if done.returncode != 0:
        raise RunFailed(f"exit code {done.returncode}: {' '.join(command)}\n{done.stderr[-1500:]}")
    return done.stdout, done.stderr, time.monotonic() - before_s


def local_run(program, flags, limit_s):
    """Runs local training: accuracy, steps, seconds of training and of the whole process."""
    out, err, wall_s = run([program, "--progress=none", *flags], limit_s)
    accuracy, rate = ACCURACY.search(out), RATE.search(err)
    if not accuracy or not rate:
        raise RunFailed(f"no closing line or no rate in the log:\n{out[-500:]}{err[-1000:]}")
    steps = int(rate.group(2))
    return {"accuracy": float(accuracy.group(1)), "steps": steps, "train_s": steps / float(rate.group(3)),
            "wall_s": wall_s}


def worker_times(log):
    """{worker: its milliseconds per step: total, "compute", and "outside" its own computation and that of others}."""
    times = {}
    for match in TIME.finditer(log):
        step, compute, push, wait, others, pull = map(float, match.groups()[1:])
        times[match.group(1)] = {"step": step, "compute": compute, "outside": push + wait + pull - others}
    return times


def cluster_run(program, num_workers, flags, gpus, limit_s):
    """Runs 1 ps and some workers on this host: global steps per second according to the chief, and each worker's
    times."""
    gpu_flags = ["--gpus", gpus] if gpus else []
    command = [sys.executable, str(LAUNCHER), "--num_ps", "1", "--num_workers", str(num_workers), "--binary", program,
               *gpu_flags, "--", "--progress=none", *flags]
    out, err, wall_s = run(command, limit_s)
    rates = {match.group(1): float(match.group(3)) for match in RATE.finditer(err)}
    times = worker_times(err)
    accuracies = [float(accuracy) for accuracy, _ in ACCURACY.findall(out)]
    if "worker:0" not in rates or len(times) != num_workers or not accuracies:
        raise RunFailed(f"the log lacks a worker's lines:\n{err[-1500:]}")
    return {"steps_per_s": rates["worker:0"], "workers": times, "accuracy": max(accuracies), "wall_s": wall_s}
