"""One of three workers is killed and started again every few seconds, for minutes: the result is as good as that of an
undisturbed run, and the rate not much less than what the other two do alone."""

import time

from job import Job
from trial import Part, Skip, wait_until
import support

SECONDS = {False: 600, True: 20}
EVERY_S = {False: 5.0, True: 4.0}
LEAST_RATE = 0.8  # of the rate of two workers alone
MOST_DIFFERENCE = 0.002  # of the test accuracy
RATE_S = {False: 20, True: 5}
WORKERS = 3


def run(trial):
    data = support.real_mnist()
    flags = [f"--data_dir={data}"] if data else ["--dataset=synthetic", "--data_dir="]
    flags += ["--batch_size=50", "--learning_rate=0.001", "--save_model_secs=5", "--recovery_wait_secs=60",
              "--log_every=100"]
    survivors = rate_of(trial, WORKERS - 1, flags)
    steps = int(rate_of(trial, WORKERS, flags) * SECONDS[trial.ci])
    flags += ["--learning_rate_schedule=cosine"]  # so that the last steps change little
    undisturbed, _ = accuracy_of(trial, "undisturbed", flags, steps, disturb=lambda *_: None)
    disturbed, rate = accuracy_of(trial, "churn", flags, steps, disturb)
    trial.did(f"{'MNIST' if data else 'synthetic digits'}, {steps} steps: accuracy {undisturbed:.4f} undisturbed, "
              f"{disturbed:.4f} with churn; {rate:.0f} steps/s with churn, {survivors:.0f} of two workers")
    trial.measure("rate / survivors' rate", rate / survivors)
    trial.measure("accuracy lost", undisturbed - disturbed)
    trial.check(disturbed >= undisturbed - MOST_DIFFERENCE, trial.done[-1])
    trial.check(rate >= LEAST_RATE * survivors, trial.done[-1])


def rate_of(trial, workers, flags):
    job = Job(trial, 1, workers, *flags, log_dir=trial.folder / f"rate-{workers}").start_and_wait()
    rate = job.rate(RATE_S[trial.ci])
    for task in job.tasks.values():
        task.kill()
    if rate <= 0:
        raise Skip("no rate could be measured")
    return rate


def accuracy_of(trial, name, flags, steps, disturb):
    """(test accuracy at the end, steps per second)"""
    job = Job(trial, 1, WORKERS, *flags, steps=steps, log_dir=trial.folder / name).start_and_wait()
    begin, first = time.monotonic(), job.newest_step()
    disturb(trial, job, steps)
    wait_until(lambda: job.require_health() or job.newest_step() >= 0.99 * steps, "the last steps",
               3 * SECONDS[trial.ci])
    rate = (job.newest_step() - first) / (time.monotonic() - begin)
    job.await_end()
    return support.closing_line(job.tasks["worker:0"].stdout)[0], rate


def disturb(trial, job, steps):
    """Until shortly before the end."""
    kills = 0
    while job.newest_step() < 0.95 * steps:
        time.sleep(EVERY_S[trial.ci])
        name = trial.rng.choice(job.workers)
        if job.newest_step() >= 0.95 * steps or not job.runs(name):
            break
        job.require_health()
        job.tasks[name].kill()
        job.start_named(name)
        kills += 1
    trial.did(f"{kills} kills")


PARTS = [Part("churn", "one of three workers is killed every 5 s: accuracy and rate", run, 1, 1, unit="runs",
              limit_s=3600)]
