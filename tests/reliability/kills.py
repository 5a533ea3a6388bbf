"""kill -9 of tasks at random moments of a running cluster, each started again by the same command."""

import time

from job import Job
from trial import Part, wait_until

MOST_KILLS = 10  # of one cluster
STEPS = 40_000  # asynchronous; a synchronous step is several gradients
RESTART_GOAL_S = 3.0


def run(trial):
    rng = trial.rng
    num_ps, num_workers, sync = rng.choice((1, 2)), rng.choice((2, 3)), rng.random() < 0.5
    steps = STEPS // num_workers if sync else STEPS
    strategy = ["--sync_replicas"] if sync else []
    job = Job(trial, num_ps, num_workers, "--recovery_wait_secs=60", *strategy, steps=steps)
    trial.did(f"{num_ps} ps, {num_workers} workers, {'sync' if sync else 'async'}, {steps} steps")
    job.start_and_wait()
    for _ in range(MOST_KILLS):
        time.sleep(rng.uniform(0, 0.7))
        if job.newest_step() > 0.7 * steps or not all(map(job.runs, job.tasks)):
            break  # near the end a task may be done before its kill: part "deterministic" kills there
        kill_and_restart(trial, job, *victims(rng, job))
    job.await_end()
    check_result(trial, job, steps, sync)


def victims(rng, job):
    """(kind, tasks)"""
    kind = rng.choice(("ps", "worker", "chief", "pair"))
    if kind == "ps":
        return kind, [rng.choice(job.ps_tasks)]
    if kind == "worker":
        return kind, [rng.choice(job.workers[1:])]
    if kind == "chief":
        return kind, ["worker:0"]
    return kind, rng.sample(list(job.tasks), 2)


def kill_and_restart(trial, job, kind, names):
    pause_s = trial.rng.choice((0.0, trial.rng.uniform(0, 1)))
    chief_log = len(job.said("worker:0"))
    acknowledged = max(job.acknowledged(), default=-1)
    for name in names:
        job.tasks[name].kill()
    trial.did(f"killed {' and '.join(names)}, started again after {pause_s:.2f} s", events=1)
    time.sleep(pause_s)
    job.require_valid_checkpoints()
    mark = {name: 0 if name in names else lines for name, lines in job.mark().items()}
    begin = time.monotonic()
    for name in names:
        job.start_named(name)
    lost_model = any(name.startswith("ps") for name in names)
    waited_for = job.workers if lost_model else [name for name in names if name in job.workers]
    trial.measure(kind, job.wait_for_progress(waited_for, mark=mark) - begin)
    if lost_model:
        check_restore(job, chief_log, acknowledged)
    job.wait_for_progress()  # of all workers, also those that were not killed


def check_restore(job, chief_log, acknowledged):
    restores = wait_until(lambda: job.restores_since(chief_log), "the chief's restore after a ps was lost")
    job.trial.check(min(restores) >= acknowledged, f"the chief restored global_step {min(restores)}, but "
                    f"{acknowledged} was reported as saved before the ps was killed")


def check_result(trial, job, steps, sync):
    job.require_valid_checkpoints()
    final = job.final_checkpoint()
    trial.check(final.global_step >= steps, f"the last checkpoint is of step {final.global_step}, not {steps}")
    batches = sum(final.consumed_batches.values())
    if not sync:
        trial.check(batches == final.global_step, f"{batches} batches in {final.global_step} steps: a push was lost "
                    "or applied twice")
    else:
        trial.check(batches <= len(job.workers) * final.global_step, f"{batches} batches in {final.global_step} steps")


PARTS = [Part("kills", "kill -9 of ps, worker, chief and pairs; started again", run, 1000, 20, unit="kills",
              goals={kind: RESTART_GOAL_S for kind in ("ps", "worker", "chief", "pair")})]
