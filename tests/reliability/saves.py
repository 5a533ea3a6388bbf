"""A kill at each system call of a save, and of a start, of the chief. strace counts the calls of each thread, so the
kills of a save are aimed at the saver's thread alone."""

import collections
import json
import os
import random
import re
import subprocess

from job import Job, train_alone, valid_steps
from trial import Exhausted, Part, wait_until
import machine

# How many calls of each kind are aimed at: at least as many as there are. A fixed table, so that a seed always means
# the same kill. ZeroMQ writes to wake its threads, but the files of a start are written among the first calls.
OF_A_START = {"openat": 170, "close": 100, "write": 40, "fsync": 6, "flock": 4, "rename": 4, "unlink": 2, "mkdir": 2}
OF_SAVES = {"openat": 20, "close": 20, "write": 36, "fsync": 14, "flock": 8, "rename": 8, "unlink": 4}
OTHER_CALLS = ("pwrite64", "fdatasync", "renameat", "renameat2", "unlinkat", "ftruncate", "mkdirat", "fallocate")
SAVES = 3  # that OF_SAVES covers
FIRST_STEP, LAST_STEP = 100, 300


def run(trial):
    plan = plan_of()
    if trial.seed > len(plan):
        raise Exhausted
    phase, call, number = plan[trial.seed - 1]
    trial.did(f"{phase}: killed at {call} number {number}", events=1)
    job = prepared_job(trial, LAST_STEP if phase == "start" else None)
    inject = f"inject={call}:signal=SIGKILL:when={number}"
    code = kill_in_start(job, inject) if phase == "start" else kill_in_save(job, inject)
    trial.check(code in (-9, 0), f"the chief ended with {code}\n{job.tails()}")
    if code == 0:
        trial.did("the run ended before this call")
    for task in job.tasks.values():
        task.kill()
    check_and_resume(trial, job)


def prepared_job(trial, steps, name="run"):
    """A cluster of one worker whose folder has a checkpoint."""
    log_dir = trial.folder / name
    train_alone(trial, "--log_every=1000", steps=FIRST_STEP, log_dir=log_dir)
    flags = ["--max_to_keep=1", "--log_every=1000000"]
    job = Job(trial, 1, 1, *flags, log_dir=log_dir, **({"steps": steps} if steps else {}))
    job.start_task("ps", 0)
    return job


def strace(*arguments):
    return ["strace", "-qq", "-e", "trace=" + ",".join(f"?{call}" for call in all_calls()), *arguments]


def kill_in_start(job, inject):
    """-D: the chief stays this process's child."""
    log = job.trial.folder / "strace"
    command = strace("-D", "-f", "-o", log, "-e", inject, *job.command("worker:0"))
    chief = job.trial.start(command, name="chief")
    job.tasks["worker:0"] = chief
    job.history["worker:0"] = [chief]
    return chief.wait(120)


def kill_in_save(job, inject):
    """The tracer attaches to the saver's thread before the first save."""
    rank = saver_rank(job.trial)
    chief = job.start_task("worker", 0)
    wait_until(lambda: "first step" in chief.stderr, "the first step")
    log = job.trial.folder / "strace"
    thread = threads(chief)[rank]
    tracer = job.trial.start(strace("-o", log, "-e", inject, "-p", thread), name="strace")
    try:
        wait_until(lambda: chief.popen.poll() is not None or chief.stderr.count("] saved ") > SAVES + 1, "the kill", 60)
    finally:
        tracer.kill()
    if chief.popen.poll() is None:
        chief.kill()
        return 0
    return chief.popen.returncode


def threads(process):
    return sorted(map(int, os.listdir(f"/proc/{process.pid}/task")))


def check_and_resume(trial, job):
    acknowledged = max(job.acknowledged(), default=FIRST_STEP)
    valid, others = valid_steps(trial.program(), job.log_dir)
    trial.check(not others, f"files with a checkpoint's name that are not valid: {others}")
    trial.check(valid and valid[-1] >= acknowledged, f"{acknowledged} was reported as saved, there are only {valid}")
    resumed = train_alone(trial, "--max_to_keep=1", "--log_every=1000", steps=valid[-1] + 50, log_dir=job.log_dir)
    trial.check(f"restored global_step {valid[-1]}\n" in resumed.stderr,
                f"no resume from {valid[-1]}\n{resumed.tail()}")
    left = [path.name for path in job.log_dir.iterdir() if "tmp" in path.name]
    trial.check(not left, f"temporary files remain after the resume: {left}")


# ---- Which kills there are ----

def all_calls():
    return sorted({*OF_A_START, *OF_SAVES, *OTHER_CALLS})


def plan_of():
    """[(phase, call, number)], mixed so that a part of it is a sample."""
    plan = [(phase, call, number) for phase, calls in (("start", OF_A_START), ("save", OF_SAVES))
            for call, most in calls.items() for number in range(1, most + 1)]
    random.Random("plan").shuffle(plan)
    return plan


def watch_saves(trial):
    """{(rank of the thread, call): number} of a few saves. Kept for the other trials."""
    path = trial.data.parent / "saves-threads.json"
    if path.exists():
        return {(rank, call): number for rank, call, number in json.loads(path.read_text())}
    job = prepared_job(trial, None, "watched")
    chief = job.start_task("worker", 0)
    wait_until(lambda: "first step" in chief.stderr, "the first step")
    ranks = threads(chief)
    log = trial.folder / "strace-saves"
    tracer = trial.start(strace("-f", "-o", log, "-p", chief.pid), name="strace-saves")
    wait_until(lambda: chief.stderr.count("] saved ") >= SAVES, f"{SAVES} saves")
    for process in (tracer, chief, job.tasks["ps:0"]):
        process.kill()
    found = {(ranks.index(int(thread)), call): number for (thread, call), number in count_calls(log).items()
             if int(thread) in ranks}
    path.write_text(json.dumps([[*key, number] for key, number in found.items()]))
    missing = {call: number for (rank, call), number in found.items()
               if rank == saver_rank(trial) and number > OF_SAVES.get(call, 0)}
    trial.check(not missing, f"OF_SAVES lacks some of the saver's system calls: {missing}")
    return found


def count_calls(log):
    """{(thread, call): number}"""
    return collections.Counter(re.findall(r"^(\d+) +(\w+)\(", log.read_text(errors="replace"), re.MULTILINE))


def saver_rank(trial):
    """The thread that renames is the saver's. Threads are started in the same order in every run."""
    ranks = {rank for rank, call in watch_saves(trial) if call.startswith("rename")}
    trial.check(len(ranks) == 1, f"the saver's thread was not found: {ranks}")
    return ranks.pop()


def why_not():
    if missing := machine.why_no_tools("strace"):
        return missing
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True)
    return f"strace does not work here: {done.stderr.strip()}" if done.returncode else ""


PARTS = [Part("save_syscalls", "a kill at each system call of a start and of a save", run, len(plan_of()), 30,
              unit="kills", why_not=why_not)]
