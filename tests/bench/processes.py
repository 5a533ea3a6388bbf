"""Runs real processes, of one program or of a cluster on this host, and reads distmnist's logs."""

import os
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import time

RUN_LIMIT_S = 1800.0


class RunFailed(Exception):
    """A run without figures; the message names the run and the reason."""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for probe in sockets:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in sockets]
    for probe in sockets:
        probe.close()
    return ports


def task_commands(common, num_ps, num_workers):
    """One command per task of a cluster on this host, the ps first. Without workers only `common`, which is a local
    run."""
    if num_workers == 0:
        return [common]
    ports = free_ports(num_ps + num_workers)
    hosts = [f"127.0.0.1:{port}" for port in ports]
    cluster = [*common, f"--ps_hosts={','.join(hosts[:num_ps])}", f"--worker_hosts={','.join(hosts[num_ps:])}"]
    tasks = [("ps", index) for index in range(num_ps)] + [("worker", index) for index in range(num_workers)]
    return [[*cluster, f"--job_name={job}", f"--task_index={index}"] for job, index in tasks]


def kill_group(process):
    """Kills the process with its child processes, even if it has already ended."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def wait_for_all(name, processes):
    """MB of the largest process, including child processes. Raises RunFailed at the first process that fails, because
    the others may wait for it."""
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


def run_all(name, commands, folder=None):
    """Runs commands at the same time, each with its environment variables: (output of all of them, MB of the largest
    process). Raises RunFailed."""
    processes = []
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            for command, variables in commands:
                processes.append(subprocess.Popen(command, cwd=folder, env={**os.environ, **variables}, stdout=output,
                                                  stderr=output, stdin=subprocess.DEVNULL, start_new_session=True))
            largest_mb = wait_for_all(name, processes)
        except (OSError, RunFailed) as error:
            output.seek(0)
            raise RunFailed(f"{error}\n{output.read()[-2000:]}") from error
        finally:
            for process in processes:
                kill_group(process)
                process.wait()
        output.seek(0)
        return output.read(), largest_mb


# ---- distmnist's logs ----


def numbers(pattern, text):
    return [float(number) for number in re.findall(pattern, text, re.MULTILINE)]


def global_steps_per_s(text):
    """Every worker logs the global steps of all workers; None without such a line."""
    rates = numbers(r"trained until global_step \d+ at ([0-9.]+) global steps/s", text)
    return statistics.median(rates) if rates else None


def first_step_s(text):
    """The time of the last worker."""
    return max(numbers(r"first step ([0-9.]+) s after the start", text), default=None)


def peak_memory_mb(text, task=""):
    """The memory of the largest task whose name matches ("worker:0", "ps:\\d"); local runs have no name."""
    return max(numbers(rf"I {task}\] peak memory ([0-9.]+) MB" if task else r"peak memory ([0-9.]+) MB", text),
               default=None)


class Job:
    """A job of distmnist: flags, tasks (no workers means a local run), and batches per global step."""

    def __init__(self, name, flags=(), workers=0, ps=1, threads=1, batches_per_step=1):
        self.name, self.flags, self.workers, self.ps = name, list(flags), workers, ps
        self.threads, self.batches_per_step = threads, batches_per_step

    def commands(self, binary, data_dir, batches):
        """The commands for this number of batches of all workers together."""
        steps = max(1, round(batches / self.batches_per_step))
        common = [binary, f"--data_dir={data_dir}", "--progress=none",
                  f"--intra_op_parallelism_threads={self.threads}", f"--train_steps={steps}", *self.flags]
        return task_commands(common, self.ps, self.workers)


class JobFigures:
    """The figures of one run: batches per second of all workers, seconds from the start to the last worker's first
    step, milliseconds of computation in a worker's step, and MB of the chief (or the local process), the largest other
    worker and the largest ps, or None if there is none."""

    def __init__(self, job, text):
        steps_per_s = global_steps_per_s(text)
        if steps_per_s is None:
            raise RunFailed(f"{job.name} printed no rate:\n{text[-2000:]}")
        self.rate = steps_per_s * job.batches_per_step
        self.first_step_s = first_step_s(text)
        compute_ms = numbers(r"time per step [0-9.]+ ms: compute ([0-9.]+)", text)
        self.compute_ms = statistics.median(compute_ms) if compute_ms else None
        self.chief_mb = peak_memory_mb(text, "worker:0") if job.workers else peak_memory_mb(text)
        self.worker_mb = peak_memory_mb(text, r"worker:[1-9]\d*")
        self.ps_mb = peak_memory_mb(text, r"ps:\d+")


def run_job(job, options, batches):
    """`options` has binary and data_dir."""
    text, _ = run_all(job.name, [(command, {}) for command in job.commands(options.binary, options.data_dir, batches)])
    return JobFigures(job, text)


def run_in_rounds(jobs, rounds, run_one, say):
    """{job's name: [figures of each round]}. Each round has all jobs, so that other load on the machine affects all of
    them. A job with a failed run is omitted, and a line reports it. The result of `run_one(job)` has `rate`."""
    results = {job.name: [] for job in jobs}
    for number in range(1, rounds + 1):
        for job in jobs:
            if job.name not in results:
                continue
            try:
                figures = run_one(job)
            except RunFailed as error:
                say(f"{job.name} is left out because a run failed: {error}")
                del results[job.name]
                continue
            results[job.name].append(figures)
            say(f"round {number}: {job.name}: {figures.rate:.1f} batches/s")
    return results
