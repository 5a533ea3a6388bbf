"""Disks that are full, broken or do not answer, and limits of descriptors and memory: one clear error line, the right
exit code, and the older checkpoints remain."""

import contextlib
import re
import resource
import signal
import time

from job import Job, error_lines, inspect, train_alone
from trial import Exhausted, Part, Skip, wait_until
import machine
import small_runs

NOT_SAVED = "was not saved, but training continues and older checkpoints are kept"
FROZEN_S = {False: 60, True: 10}
DISK_S = {False: 15, True: 3}  # --disk_secs
DISK_SLACK_S = 3.0
LEAST_RATE = 0.95
TRIES = 3  # for a rate, because the machine may do other work
ENDED_BY_SIGTERM, NO_RESOURCES, BAD_DATA, LOST = 143, 7, 3, 138
DISK_MIB = 8


def run(trial):
    if trial.seed > len(CASES):
        raise Exhausted
    case = CASES[trial.seed - 1]
    trial.did(case.__doc__.strip())
    case(trial)


def need_disks(*also):
    if why := machine.why_no_disks(*also):
        raise Skip(why)


def small_disk(trial):
    image = machine.make_image(trial.folder / "disk.img", DISK_MIB)
    return trial.cleanups.enter_context(machine.mounted(image, trial.folder / "disk"))


def started_job(trial, log_dir, *flags, **options):
    job = Job(trial, 1, 2, *flags, log_dir=log_dir)
    job.start(**options)
    job.wait_for_progress()
    wait_until(job.acknowledged, "the first save")
    return job


# ---- Full and broken ----

def full(trial):
    """a full disk"""
    need_disks()
    disk = small_disk(trial)
    job = started_job(trial, disk / "run", "--log_every=1000")
    check_failing_saves(trial, job, lambda: fill(disk / "filler"), (disk / "filler").unlink, "No space left on device",
                        NO_RESOURCES)


def fill(path):
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def failing_fsync(trial):
    """a disk whose fsync fails"""
    broken(trial, "fsync")


def failing_write(trial):
    """a disk whose write fails"""
    broken(trial, "write")


def broken(trial, call):
    trigger = trial.folder / "broken"
    environment = machine.preload(trial, "failing_disk.c", FAIL_CALL=call, FAIL_WHILE=trigger)
    job = started_job(trial, trial.folder / "run", env=environment)
    check_failing_saves(trial, job, trigger.touch, trigger.unlink, "Input/output error", BAD_DATA, NO_RESOURCES)


def check_failing_saves(trial, job, begin, end, reason, *codes):
    """Training goes on, older checkpoints remain, saves succeed again afterwards, and a failed last save is no
    success."""
    begin()
    chief = job.tasks["worker:0"]
    wait_until(lambda: NOT_SAVED in chief.stderr, "the error line of a failed save")
    (line, *_) = [line for line in error_lines(chief.stderr) if NOT_SAVED in line]
    trial.check(reason in line, f"the error line does not name the reason '{reason}': {line}")
    job.wait_for_progress()
    job.require_valid_checkpoints()
    kept = max(small_runs.checkpoint_steps(job.log_dir))
    trial.check(kept >= max(job.acknowledged()), f"the newest checkpoint is {kept}, saved was {job.acknowledged()[-1]}")
    end()
    saves = len(job.acknowledged())
    wait_until(lambda: len(job.acknowledged()) > saves, "a save after the disk is whole again")
    begin()
    check_failed_end(trial, job, codes)


def check_failed_end(trial, job, codes):
    before = job.acknowledged()[-1]
    for name in job.workers:
        job.tasks[name].send(signal.SIGTERM)
    code = job.tasks["worker:0"].wait()
    # A save may have succeeded just before the disk failed, with nothing trained since; then all is saved.
    trial.check(code in codes, f"the chief ended with {code}, not {codes}, after its last save failed\n{job.tails()}")
    said = [line for line in error_lines(job.tasks["worker:0"].stderr) if line.endswith(f"; exit {code}")]
    trial.check(len(said) == 1, f"not one error line with the exit code: {said}")
    steps = job.require_valid_checkpoints()
    trial.check(max(small_runs.checkpoint_steps(job.log_dir)) >= before, f"{before} was saved and is lost: {steps}")


# ---- A disk that does not answer ----

def frozen(trial):
    """a frozen disk"""
    need_disks("fsfreeze")
    disk = small_disk(trial)
    frozen_s, disk_s = FROZEN_S[trial.ci], DISK_S[trial.ci]
    job = started_job(trial, disk / "run", f"--disk_secs={disk_s}", "--log_every=50")
    shares = []
    for _ in range(TRIES):
        shares.append(rate_share(trial, job, disk, frozen_s))
        if shares[-1] >= LEAST_RATE:
            break
        saves = len(job.acknowledged())
        wait_until(lambda: len(job.acknowledged()) > saves + 1, "saves after the thaw")
    trial.measure("rate while frozen", max(shares))
    trial.check(max(shares) >= LEAST_RATE, f"the rate while the disk was frozen, as a share of that before: {shares}")
    check_sigterm_while_frozen(trial, job, disk, disk_s)


def rate_share(trial, job, disk, seconds):
    before = job.rate(min(seconds, 15))
    with machine.Freeze(disk):
        time.sleep(2.0)  # a save begins
        share = job.rate(seconds) / before
        trial.did(f"rate {before:.0f}/s, with a frozen disk {share:.2f} of it", events=0)
    return share


def check_sigterm_while_frozen(trial, job, disk, disk_s):
    acknowledged = max(job.acknowledged())
    chief = job.tasks["worker:0"]
    size = len(chief.stderr)
    with machine.Freeze(disk):
        time.sleep(1.5)
        for name in job.workers:
            job.tasks[name].send(signal.SIGTERM)
        begin = time.monotonic()
        wait_until(lambda: f"the disk of {job.log_dir} has not answered" in chief.stderr[size:],
                   "a line of the chief that names the disk", disk_s + 30)
        took_s = time.monotonic() - begin
        trial.measure("SIGTERM answered", took_s)
    trial.check(took_s <= disk_s + DISK_SLACK_S, f"the chief named the disk only {took_s:.1f} s after SIGTERM")
    code = chief.wait()
    trial.check(code in (LOST, ENDED_BY_SIGTERM), f"the chief ended with {code}\n{chief.tail()}")
    saved_all = code == ENDED_BY_SIGTERM
    steps = job.require_valid_checkpoints()
    newest = max(small_runs.checkpoint_steps(job.log_dir))
    trial.check(newest >= acknowledged, f"{acknowledged} was saved and is lost: {steps}")
    trial.did(f"the chief ended with {code}" + (" after saving" if saved_all else ""))


# ---- Limits ----

def limited(trial, task, which, values, names_limit):
    """Each value works (the task ends with 0), or the task ends with 7 and one error line."""
    outcomes = []
    for value in values:
        job = Job(trial, 1, 1, "--recovery_wait_secs=5", "--save_model_secs=600", steps=500,
                  log_dir=trial.folder / f"run-{value}")
        seeded = seed_checkpoint(trial, job)
        for name in ("ps:0", "worker:0"):
            set_limit = (lambda: resource.setrlimit(which, (value, value))) if name == task else None
            job.start_named(name, preexec_fn=set_limit)
        outcomes.append((value, outcome_of(trial, job, task, value, names_limit)))
        trial.check(inspect(trial.program(), seeded)[0] == 0, f"limit {value}: the older checkpoint is damaged")
        for process in job.tasks.values():
            process.kill()
    trial.did(f"{task}: {outcomes}")
    return dict(outcomes)


def seed_checkpoint(trial, job):
    """A checkpoint of an earlier run, made once."""
    source = trial.folder / "earlier"
    if not source.exists():
        train_alone(trial, "--log_every=1000", steps=20, log_dir=source)
    job.log_dir.mkdir()
    target = small_runs.checkpoint_path(job.log_dir, 20)
    target.write_bytes(small_runs.checkpoint_path(source, 20).read_bytes())
    return target


def outcome_of(trial, job, task, value, names_limit):
    process = job.tasks[task]
    wait_until(lambda: process.popen.poll() is not None, f"the end of {task} with a limit of {value}", 90)
    code = process.popen.returncode
    if code == 127 and "shared librar" in process.stderr:
        return "the loader gave up"
    errors = error_lines(process.stderr)
    trial.check(code in (0, NO_RESOURCES, LOST), f"limit {value}: {task} ended with {code}\n{job.tails()}")
    if code == NO_RESOURCES:
        final = [line for line in errors if line.endswith(f"; exit {code}")]
        trial.check(len(final) == 1 and re.search(names_limit, final[0]),
                    f"limit {value}: not one clear error line: {errors}")
    if code == LOST:  # the other task could not be served, and a line says why
        trial.check(re.search(names_limit, process.stderr),
                    f"limit {value}: {task} does not name its limit\n{job.tails()}")
    return code


def descriptors_of_ps(trial):
    """few descriptors for the ps"""
    limited(trial, "ps:0", resource.RLIMIT_NOFILE, (8, 12, 16, 20, 24, 28, 32, 40, 64), "open files")


def descriptors_of_worker(trial):
    """few descriptors for the chief"""
    limited(trial, "worker:0", resource.RLIMIT_NOFILE, (8, 12, 16, 20, 24, 28, 32, 40, 64), "open files")


def memory_of_ps(trial):
    """little memory for the ps"""
    limited(trial, "ps:0", resource.RLIMIT_AS, memory_limits(), "(memory|address space)")


def memory_of_worker(trial):
    """little memory for the chief"""
    limited(trial, "worker:0", resource.RLIMIT_AS, memory_limits(), "(memory|address space)")


def memory_limits():
    return [mib << 20 for mib in (16, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 400, 500, 700, 1000)]


CASES = (full, failing_fsync, failing_write, frozen, descriptors_of_ps, descriptors_of_worker, memory_of_ps,
         memory_of_worker)
PARTS = [Part("disks", "full, broken and frozen disks; few descriptors, little memory", run, len(CASES),
              len(CASES), unit="cases", limit_s=600)]
