"""The disturbed job: a cluster of real processes, with what the checks need to know about it."""

import os
import re
import subprocess
import time

from trial import Violation, wait_until
import small_runs
import support

ENDLESS = small_runs.ENDLESS
SAVED = re.compile(r"\] saved \S+/model\.ckpt-(\d+)\.safetensors")
RESTORED = re.compile(r"\] (?:restored global_step (\d+)|initialised with seed \d+)$", re.MULTILINE)
OUTCOME_S = 100.0  # for a whole cluster to end, on a busy machine


def flags_of(trial, steps, log_dir):
    return [f"--data_dir={trial.data}", *small_runs.SMALL, f"--log_dir={log_dir}", f"--train_steps={steps}"]


def last_of_each(*flags):
    """Of several flags of the same name the last one."""
    return list({str(flag).partition("=")[0]: str(flag) for flag in flags}.values())


class Job(support.Cluster):
    """A cluster of softmax on small data. Later flags of the same name replace earlier ones."""

    def __init__(self, trial, num_ps=1, num_workers=2, *flags, steps=ENDLESS, log_dir=None):
        self.trial = trial
        self.log_dir = log_dir or trial.folder / "run"
        mine = ["--pin=none", "--log_every=20", "--save_model_secs=1"]
        super().__init__(trial, num_ps, num_workers,
                         last_of_each(*flags_of(trial, steps, self.log_dir), *mine, *flags))
        self.history = {}  # task -> all its processes, the oldest first

    @property
    def workers(self):
        return [f"worker:{index}" for index in range(len(self.worker_ports))]

    @property
    def ps_tasks(self):
        return [f"ps:{index}" for index in range(len(self.ps_ports))]

    def start_task(self, job, index, *extra, **options):
        task = super().start_task(job, index, *extra, **options)
        self.history.setdefault(f"{job}:{index}", []).append(task)
        return task

    def start_named(self, name, *extra, **options):
        job, index = name.split(":")
        return self.start_task(job, int(index), *extra, **options)

    def command(self, name):
        """The command of a task, to be run in another environment."""
        job, index = name.split(":")
        return [self.trial.program(), *self.flags(), f"--job_name={job}", f"--task_index={index}", *self.arguments]

    # ---- What it does ----

    def code(self, name):
        """None while the task runs."""
        return self.tasks[name].popen.poll()

    def runs(self, name):
        return self.code(name) is None

    def step(self, name):
        """The last step that the worker printed; 0 before the first one."""
        with open(self.tasks[name].out_path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
            found = re.findall(r"Step: (\d+),", file.read().decode(errors="replace"))
        return int(found[-1]) if found else 0

    def newest_step(self):
        """Of the worker that printed last: a restored run begins at an earlier step."""
        last = max(self.workers, key=lambda name: self.tasks[name].out_path.stat().st_mtime_ns)
        return self.step(last)

    def lines(self, name):
        return self.tasks[name].stdout.count("\n")

    def require_health(self, besides=()):
        """No task may have failed."""
        for name, task in self.tasks.items():
            if name not in besides and task.popen.poll() not in (None, 0):
                raise Violation(f"{name} ended with {task.popen.poll()}\n{task.tail()}")

    def wait_for_progress(self, names=None, lines=2, limit_s=60.0, mark=None, besides=()):
        """Waits until each of these workers has printed so many more lines (since `mark`) or ended with 0. Returns
        when."""
        waiting = {name: (mark or {}).get(name, self.lines(name)) + lines for name in names or self.workers}

        def look():
            self.require_health(besides)
            for name in list(waiting):
                if self.code(name) == 0 or self.lines(name) >= waiting[name]:
                    del waiting[name]
            return not waiting

        wait_until(look, f"progress of {', '.join(waiting)}", limit_s)
        return time.monotonic()

    def mark(self):
        return {name: self.lines(name) for name in self.workers}

    def start_and_wait(self, **options):
        self.start(**options)
        self.wait_for_progress()
        return self

    def rate(self, seconds, name="worker:0"):
        """Global steps per second."""
        begin_s, first = time.monotonic(), self.step(name)
        time.sleep(seconds)
        return (self.step(name) - first) / (time.monotonic() - begin_s)

    def said(self, name):
        """Everything that the processes of this task logged."""
        return "".join(task.stderr for task in self.history.get(name, ()))

    def tails(self):
        return "\n".join(f"--- {name}\n{task.stderr[-1500:]}" for name, task in self.tasks.items())

    def await_end(self, limit_s=OUTCOME_S, allowed=(0,)):
        def look():
            self.require_health(besides=self.tasks if allowed != (0,) else ())
            return not any(self.runs(name) for name in self.tasks)

        wait_until(look, f"the end of {', '.join(name for name in self.tasks if self.runs(name))}", limit_s)
        for name in self.tasks:
            if self.code(name) not in allowed:
                raise Violation(f"{name} ended with {self.code(name)}\n{self.tasks[name].tail()}")

    # ---- What it kept ----

    def acknowledged(self):
        """The steps of the checkpoints that the chief reported as saved, in the order of the log."""
        return [int(step) for step in SAVED.findall(self.said("worker:0"))]

    def restores_since(self, size):
        """The steps at which the chief restored the model since its log had this size; -1: it began anew."""
        return [int(step) if step else -1 for step in RESTORED.findall(self.said("worker:0")[size:])]

    def require_valid_checkpoints(self):
        require_valid_checkpoints(self.trial.program(), self.log_dir)

    def final_checkpoint(self):
        steps = small_runs.checkpoint_steps(self.log_dir)
        if not steps:
            raise Violation(f"there is no checkpoint in {self.log_dir}")
        return small_runs.read_checkpoint(small_runs.checkpoint_path(self.log_dir, steps[-1]))


def inspect(program, path):
    """(exit code, output)"""
    try:
        done = subprocess.run([program, "inspect", str(path)], capture_output=True, text=True, errors="replace",
                              timeout=60)
    except subprocess.TimeoutExpired:
        raise Violation(f"distmnist inspect {path} still ran after 60 s") from None
    return done.returncode, done.stdout + done.stderr


def require_valid_checkpoints(program, log_dir):
    """Every file with a checkpoint's name is valid. Returns their steps. A running saver may remove a file
    meanwhile."""
    steps = []
    for step in small_runs.checkpoint_steps(log_dir):
        path = small_runs.checkpoint_path(log_dir, step)
        code, said = inspect(program, path)
        if code == 0:
            steps.append(step)
        elif path.exists():
            raise Violation(f"{path} is not valid: exit {code}: {said[-500:]}")
    return steps


def valid_steps(program, log_dir):
    """(steps of the valid files, steps of the others)"""
    valid, others = [], []
    for step in small_runs.checkpoint_steps(log_dir):
        code, _ = inspect(program, small_runs.checkpoint_path(log_dir, step))
        (valid if code == 0 else others).append(step)
    return valid, others


def train_alone(trial, *flags, steps, log_dir, code=0):
    """Local training to its end."""
    process = trial.start([trial.program(), *last_of_each(*flags_of(trial, steps, log_dir), *flags)])
    if process.wait() != code:
        raise Violation(f"local training ended with {process.popen.returncode}\n{process.tail()}")
    return process


def error_lines(text):
    return small_runs.ERROR_LINE.findall(text)
