"""SIGSTOP and SIGCONT of each role, for 0.1 to 30 s: nothing ends that need not, and the run goes on."""

import math
import signal
import time

from job import Job
from trial import Part, Violation

SILENCE_S = {False: 15, True: 3}  # --silence_secs, and its value with --ci
LONGEST_S = {False: 30, True: 7}
SLACK_S = 1.0  # within which of a limit either outcome is right
LOST = 138


def run(trial):
    rng = trial.rng
    silence_s, longest_s = SILENCE_S[trial.ci], LONGEST_S[trial.ci]
    recovery_s = rng.choice((2, 20)) if not trial.ci else rng.choice((1, 5))
    stopped_s = math.exp(rng.uniform(math.log(0.1), math.log(longest_s)))
    sync = rng.random() < 0.4
    job = Job(trial, rng.choice((1, 2)), 2, f"--silence_secs={silence_s}", f"--recovery_wait_secs={recovery_s}",
              *(["--sync_replicas"] if sync else []))
    names = rng.choice(([rng.choice(job.ps_tasks)], ["worker:0"], ["worker:1"], job.workers))
    trial.did(f"{'sync' if sync else 'async'}, {len(job.ps_ports)} ps, recovery wait {recovery_s} s: stopped "
              f"{' and '.join(names)} for {stopped_s:.1f} s", events=1)
    job.start_and_wait()
    stop_and_continue(job, names, stopped_s)
    may_end_s = others_may_end_after(names, sync, silence_s, recovery_s)
    if stopped_s < may_end_s - SLACK_S:
        begin = time.monotonic()
        trial.measure(role_of(names), job.wait_for_progress() - begin)
        job.require_valid_checkpoints()
    else:
        await_outcome(trial, job, silence_s + recovery_s)


def role_of(names):
    return "all workers" if len(names) > 1 else names[0].partition(":")[0]


def others_may_end_after(names, sync, silence_s, recovery_s):
    """By the documented limits. A synchronous step waits for all workers, so that two workers that are not stopped at
    the same instant wait for each other as well."""
    if sync and names[0].startswith("worker"):
        return recovery_s
    return silence_s + recovery_s if names[0].startswith("ps") or len(names) > 1 else math.inf


def stop_and_continue(job, names, seconds):
    for name in names:
        job.tasks[name].send(signal.SIGSTOP)
    time.sleep(seconds)
    for name in names:
        job.tasks[name].send(signal.SIGCONT)


def await_outcome(trial, job, limit_s):
    """The others have waited as long as they had to: some tasks may have ended with 138. Then the rest ends in the same
    way or goes on, but does not hang."""
    end = time.monotonic() + 2 * limit_s + 30
    while time.monotonic() < end:
        codes = {name: job.code(name) for name in job.tasks}
        wrong = {name: code for name, code in codes.items() if code not in (None, LOST)}
        trial.check(not wrong, f"exit codes {codes}\n{job.tails()}")
        mark = job.mark()
        time.sleep(1)
        going_on = [name for name in job.workers if job.runs(name) and job.lines(name) >= mark[name] + 2]
        if all(codes.values()) or going_on == [name for name in job.workers if job.runs(name)] != []:
            return trial.did(f"exit codes {codes}")
    raise Violation(f"some tasks neither end nor go on: {codes}\n{job.tails()}")


PARTS = [Part("stops", "SIGSTOP and SIGCONT: nothing ends that need not", run, 100, 8, unit="stops")]
