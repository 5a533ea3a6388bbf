"""Synchronous runs with kills of all roles, also at the end: the final parameters are those of an undisturbed run."""

import shutil
import time

from job import Job, OUTCOME_S, train_alone
from trial import Hang, Part, becomes_true, wait_until
import small_runs

STEPS = 6000
WAIT_S = 20  # --recovery_wait_secs
FLAGS = ["--sync_replicas", "--on_lost_worker=wait", f"--recovery_wait_secs={WAIT_S}", "--seed=7"]


def run(trial):
    rng = trial.rng
    expected = undisturbed(trial)
    job = Job(trial, rng.choice((1, 2)), 2, *FLAGS, steps=STEPS)
    trial.did(f"{len(job.ps_ports)} ps, 2 workers")
    job.start_and_wait()
    # The moments: a step, 0.9 to 1 of the run, or the closing lines of worker 1.
    moments = sorted(rng.uniform(0, 0.9) for _ in range(3)) + rng.choice(([], [rng.uniform(0.97, 1)]))
    for moment in moments:
        wait_until(lambda: job.newest_step() >= moment * STEPS or is_closing(job), f"step {moment * STEPS:.0f}")
        kill_some(trial, job, f"at step {job.newest_step()}")
    if rng.random() < 0.6:
        wait_until(lambda: is_closing(job), "the closing lines of worker:1", OUTCOME_S)
        kill_some(trial, job, "after the closing lines of worker:1")
    await_end(trial, job)
    compare(trial, job, expected)


def is_closing(job):
    return "test_accuracy=" in job.tasks["worker:1"].stdout or not job.runs("worker:1")


def kill_some(trial, job, when):
    names = trial.rng.sample(list(job.tasks), trial.rng.choice((1, 1, 2)))
    names = [name for name in names if job.runs(name)]
    for name in names:
        job.tasks[name].kill()
    trial.did(f"killed {' and '.join(names) or 'no task that runs'} {when}")
    time.sleep(trial.rng.choice((0.0, trial.rng.uniform(0, 0.5))))
    for name in names:
        if needs_restart(job, name):
            job.start_named(name)


def needs_restart(job, name):
    """As a scheduler does it: a task that did not end with 0 is started again, unless the whole run is over."""
    if job.code(name) == 0:
        return False
    return not all(job.code(other) == 0 for other in job.tasks if other != name)


def await_end(trial, job):
    """All workers end with 0. A ps that was started again when the others had left finds no worker, and would wait for
    an hour; a worker that was started again when its ps tasks had left gives up with 138."""
    def workers_ended():
        job.require_health(besides=[name for name in job.tasks if name in job.workers and ps_left(job)])
        return not any(map(job.runs, job.workers))

    wait_until(workers_ended, "the end of the workers", OUTCOME_S)
    for name in job.workers:
        allowed = (0, 138, -9) if ps_left(job) else (0, -9)
        trial.check(job.code(name) in allowed, f"{name} ended with {job.code(name)}\n{job.tasks[name].tail()}")
    for name in job.ps_tasks:
        if becomes_true(lambda: not job.runs(name), WAIT_S + 10):
            trial.check(job.code(name) in (0, -9), f"{name} ended with {job.code(name)}\n{job.tasks[name].tail()}")
        elif len(job.history[name]) == 1 or "joined" in job.tasks[name].stderr:
            raise Hang(f"{name} does not end although its workers have left\n{job.tasks[name].tail()}")


def ps_left(job):
    return any(job.code(name) == 0 for name in job.ps_tasks)


def undisturbed(trial):
    """The tensors of a run without losses: the same flags as threads of one process."""
    folder = trial.data.parent / "undisturbed"  # once for all trials
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        train_alone(trial, *FLAGS, "--num_workers=2", "--num_ps=1", "--log_every=1000", steps=STEPS, log_dir=folder)
        (folder / "complete").touch()
    return small_runs.read_checkpoint(small_runs.checkpoint_path(folder, STEPS)).tensors


def compare(trial, job, expected):
    final = job.final_checkpoint()
    trial.check(final.global_step == STEPS, f"the last checkpoint is of step {final.global_step}, not {STEPS}")
    different = [name for name, content in expected.items() if final.tensors.get(name) != content]
    trial.check(not different and len(expected) == len(final.tensors),
                f"not the bits of an undisturbed run: {', '.join(different)}")


PARTS = [Part("deterministic", "synchronous runs with kills end with the bits of an undisturbed run", run, 50, 3,
              unit="runs")]
