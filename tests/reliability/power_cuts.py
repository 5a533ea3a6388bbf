"""Power cuts: the run folder is on a small disk, whose content at random moments is what a power cut leaves.

The image of that disk is a file on a second, outer disk. While the outer disk is frozen, nothing reaches the image, so
its copy is the content of a disk at one moment: what the kernel has not written yet is missing in it. The inner disk is
mounted without the settings by which ext4 hides a missing fsync."""

import contextlib
import shutil
import time

from job import Job, train_alone, valid_steps
from trial import Part, wait_until
import machine
import small_runs

CUTS = 10  # of one run
KEPT = 3
OUTER_MIB, DISK_MIB = 64, 24
STRICT = ("noauto_da_alloc", "commit=300")
AROUND_A_SAVE_S = 0.03


def run(trial):
    outer_image = machine.make_image(trial.folder / "outer.img", OUTER_MIB)
    outer = trial.cleanups.enter_context(machine.mounted(outer_image, trial.folder / "outer"))
    image = machine.make_image(outer / "disk.img", DISK_MIB)
    with contextlib.ExitStack() as disk_in_use:
        disk = disk_in_use.enter_context(machine.mounted(image, trial.folder / "disk", *STRICT))
        job = Job(trial, 1, 2, f"--max_to_keep={KEPT}", "--log_every=1000", log_dir=disk / "run")
        disk_in_use.callback(lambda: [task.kill() for task in job.tasks.values()])
        job.start()
        wait_until(job.acknowledged, "the first save")
        for number in range(CUTS):
            cut(trial, job, outer, image, number)


def cut(trial, job, outer, image, number):
    wait_for_moment(trial.rng, job)
    copy = trial.folder / "copy.img"
    acknowledged = job.acknowledged()
    with machine.Freeze(outer):
        shutil.copyfile(image, copy)
    after = job.acknowledged()
    during = ", during a save" if after != acknowledged else ""
    trial.did(f"cut {number} at save {len(acknowledged)}{during}", events=1)
    check_copy(trial, copy, acknowledged, number)
    copy.unlink()


def wait_for_moment(rng, job):
    """A random moment; in half of the cases close to a save, which takes only a few milliseconds of each second."""
    if rng.random() < 0.5:
        return time.sleep(rng.uniform(0, 1.2))
    saves = len(job.acknowledged())
    wait_until(lambda: len(job.acknowledged()) > saves, "a save")
    early = rng.random() < 0.5
    return time.sleep(1 - rng.uniform(0, AROUND_A_SAVE_S) if early else rng.uniform(0, AROUND_A_SAVE_S))


def check_copy(trial, copy, acknowledged, number):
    """`acknowledged`: the steps that were reported as saved before the cut."""
    with machine.mounted(copy, trial.folder / "after") as disk:
        log_dir = disk / "run"
        valid, others = valid_steps(trial.program(), log_dir)
        shown = f"cut {number}: valid {valid}, others {others}, reported as saved {acknowledged[-KEPT - 2:]}"
        for step in acknowledged:
            newer = [other for other in valid if other > step]
            trial.check(step in valid or len(newer) >= KEPT, f"{step} was reported as saved and is lost; {shown}")
        check_resume(trial, log_dir, max(valid), shown)


def check_resume(trial, log_dir, newest, shown):
    process = train_alone(trial, "--log_every=1000", steps=newest + 20, log_dir=log_dir)
    trial.check(f"restored global_step {newest}\n" in process.stderr, f"no resume; {shown}\n{process.tail()}")
    trial.check(small_runs.checkpoint_steps(log_dir)[-1] >= newest + 20, f"nothing was saved after the resume; {shown}")


def why_not():
    return machine.why_no_disks("fsfreeze")


PARTS = [Part("power_cuts", "what a disk holds at a power cut has all that was reported as saved", run, 200, 20,
              unit="cuts", why_not=why_not)]
