"""Drives the attacked job: real processes of a ps and two synchronous workers over TCP, with measurements of their
rate, memory and descriptors, and an undisturbed reference run."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import small_runs  # noqa: E402
import support  # noqa: E402

import curve  # noqa: E402
import wire  # noqa: E402

ENDLESS = small_runs.ENDLESS
WORKERS = 2
PATIENCE_S = 60.0
LONGEST_S = 6 * 3600  # for a run to the step that a long campaign reached
STEP = re.compile(r"^Worker : \d+, Step: (\d+),", re.MULTILINE)
# Enough work that a step does not consist of messages only, and enough messages that a slow ps is noticed.
MODEL = ["--model=mlp", "--batch_size=100", "--learning_rate=0.001", "--seed=5", "--dataset=synthetic",
         "--intra_op_parallelism_threads=1", "--pin=none", "--progress=none"]
IN_STEP = [*MODEL, "--sync_replicas"]


class Job:
    """ps:0 and its workers as processes that end with this one. A context manager."""

    def __init__(self, program, name, host="127.0.0.1", flags=(), steps=ENDLESS, secure=False, num_ps=1):
        self.program, self.name, self.host = program, name, host
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="distmnist-security-"))
        self.log_dir = self.folder / "run"
        addresses = [f"{host}:{port}" for port in support.free_ports(num_ps + WORKERS)]
        self.num_ps, self.port = num_ps, int(addresses[0].rpartition(":")[2])
        self.hosts = ["--ps_hosts=" + ",".join(addresses[:num_ps]), "--worker_hosts=" + ",".join(addresses[num_ps:])]
        self.flags = [*flags, f"--train_steps={steps}", "--log_every=5", f"--log_dir={self.log_dir}"]
        self.processes = []
        self.tasks = {}
        self.keys = self._make_keys() if secure else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_keys(self):
        folder = self.folder / "keys"
        self.run("keygen", folder, "--tasks", f"ps:1,worker:{WORKERS}")
        return folder

    def run(self, *arguments):
        return subprocess.run([self.program, *map(str, arguments)], check=True, capture_output=True, text=True, timeout=PATIENCE_S)

    def start_task(self, task, *extra, **options):
        job, index = task.split(":")
        # The ps has no log_dir, so all tasks get the same folder of keys and each finds its own key.
        keys = [f"--keys={self.keys}"] if self.keys else []
        command = [self.program, *self.hosts, f"--job_name={job}", f"--task_index={index}", *self.flags, *keys, *extra]
        process = support.Process(f"{task.replace(':', '')}-{len(self.processes)}", command, self.folder, **options)
        self.processes.append(process)
        self.tasks[task] = process
        return process

    def start(self, *tasks, **options):
        for task in tasks or ("ps:0", *(f"worker:{index}" for index in range(WORKERS))):
            self.start_task(task, **options)
        return self

    @property
    def ps(self):
        return self.tasks["ps:0"]

    def server_key(self):
        return curve.read_key(self.keys / "ps-0" / "ps-0.key", "public") if self.keys else b""

    def key_of(self, task):
        """(public, secret)"""
        path = self.keys / task / f"{task}.key_secret"
        return curve.read_key(path, "public"), curve.read_key(path, "secret")

    # ---- Behaviour ----

    def steps(self, task="worker:0"):
        """The last step that the worker has printed; 0 before the first one."""
        with open(self.tasks[task].out_path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            found = STEP.findall(file.read().decode(errors="replace"))
        return int(found[-1]) if found else 0

    def wait_for_steps(self, more=100, task="worker:0"):
        goal = self.steps(task) + more
        try:
            support.wait_until(lambda: self.steps(task) >= goal, f"{more} steps of {task}", PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None

    def stop(self):
        """Ends the workers with SIGTERM, and then the ps. Returns {task: exit code} and the step of the checkpoint."""
        for task, process in self.tasks.items():
            if task != "ps:0":
                process.send(signal.SIGTERM)
        codes = {task: process.wait(PATIENCE_S) for task, process in self.tasks.items() if task != "ps:0"}
        self.ps.send(signal.SIGTERM)
        codes["ps:0"] = self.ps.wait(PATIENCE_S)
        found = small_runs.checkpoint_steps(self.log_dir)
        return codes, found[-1] if found else 0

    def said(self):
        return "".join(process.tail(1500) for process in self.tasks.values())

    # ---- Resources ----

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.ps.pid}/fd"))

    def forget_peak(self):
        """Resets the peak of the memory measurement."""
        pathlib.Path(f"/proc/{self.ps.pid}/clear_refs").write_text("5")

    def peak_kib(self):
        return self.ps.peak_memory_kb()

    def log_lines(self):
        return self.ps.stderr.count("\n")


class Rate:
    """Steps per second from now until end()."""

    def __init__(self, job):
        self.job = job
        self.begin_s, self.first = time.monotonic(), job.steps()

    def end(self):
        return (self.job.steps() - self.first) / (time.monotonic() - self.begin_s)


def hello_of_a_worker(program, host="127.0.0.1"):
    """The greeting of a worker of such a job. Anyone can get it by starting the program and listening."""
    with socket.socket() as listener, tempfile.TemporaryDirectory() as folder:
        listener.bind((host, 0))
        listener.listen()
        port = listener.getsockname()[1]
        command = [program, f"--ps_hosts={host}:{port}", f"--worker_hosts={host}:1,{host}:2", "--job_name=worker",
                   "--task_index=1", *IN_STEP, f"--train_steps={ENDLESS}"]
        worker = support.Process("worker", command, folder)
        try:
            return wire.read_hello(wire.overheard_hello(listener))
        finally:
            worker.kill()


class Reference:
    """The result of an undisturbed job: the same flags in one process, without sockets. A run that stops and continues
    gives the same bits, so a later step continues from an earlier one."""

    def __init__(self, program):
        self.program = program
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="distmnist-security-"))

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def tensors(self, step):
        """Must be called with ascending steps."""
        if step not in small_runs.checkpoint_steps(self.folder):
            subprocess.run([self.program, f"--num_workers={WORKERS}", "--num_ps=1", *IN_STEP, "--log_every=1000",
                            f"--train_steps={step}", f"--log_dir={self.folder}"], check=True, capture_output=True,
                           timeout=LONGEST_S)
        return checkpoint(self.folder, step)


def checkpoint(folder, step):
    return small_runs.read_checkpoint(small_runs.checkpoint_path(folder, step)).tensors


def when(condition, seconds):
    """True if the condition becomes true in this time."""
    with contextlib.suppress(AssertionError):
        return bool(support.wait_until(condition, "", seconds))
    return False
