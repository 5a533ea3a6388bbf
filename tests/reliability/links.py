"""A link between two hosts that drops everything: it is noticed in time, and the work goes on soon after it is whole
again."""

import re
import time

from job import Job, ENDLESS
from trial import Part, wait_until
import machine

SILENCE_S = {False: 15, True: 3}
NOTICE_SLACK_S = 1.0
RESUME_GOAL_S = 1.0
PORT = 2222
NOTICED = re.compile(r"silent for|: lost|cannot be reached|has not answered|does not answer|trying for another")


def run(trial):
    rng = trial.rng
    silence_s = SILENCE_S[trial.ci]
    names = ["ps:0", "worker:0", "worker:1"]
    with machine.Network(trial, names) as network:
        sync = rng.random() < 0.4
        job = NetworkJob(trial, network, f"--silence_secs={silence_s}", "--recovery_wait_secs=120",
                         *(["--sync_replicas"] if sync else []))
        for name in names:
            job.start_there(name)
        job.wait_for_progress()
        cut_off = rng.choice(names)
        # Half of the cuts are shorter than the time after which a peer counts as lost.
        seconds = rng.choice((rng.uniform(0.2, silence_s), rng.uniform(silence_s + 2, 2 * silence_s + 5)))
        trial.did(f"{'sync' if sync else 'async'}: cut off {cut_off} for {seconds:.1f} s", events=1)
        marks = {name: len(job.said(name)) for name in names}
        begin = time.monotonic()
        with network.cut(cut_off):
            check_that_it_is_cut(job, cut_off, seconds)
            if seconds > silence_s + 2:
                wait_for_notice(trial, job, cut_off, marks, begin, silence_s)
            time.sleep(max(0, begin + seconds - time.monotonic()))
        kind = "long" if seconds > silence_s else "short"
        check_recovery(trial, job, cut_off, sync, kind)


class NetworkJob(Job):
    """Each task on a host of its own."""

    def __init__(self, trial, network, *flags):
        self.network = network
        super().__init__(trial, 1, 2, *flags, steps=ENDLESS)

    def flags(self):
        hosts = self.network.hosts
        return [f"--ps_hosts={hosts['ps:0'].address}:{PORT}",
                "--worker_hosts=" + ",".join(f"{hosts[name].address}:{PORT}" for name in self.workers)]

    def start_there(self, name):
        task = self.trial.start([*self.network.hosts[name].enter, *self.command(name)], name=name.replace(":", ""))
        self.tasks[name] = task
        self.history.setdefault(name, []).append(task)


def check_that_it_is_cut(job, cut_off, seconds):
    """Otherwise the trial shows nothing."""
    name = "worker:0" if cut_off == "ps:0" else cut_off
    time.sleep(0.1)  # for what was on the way
    lines = job.lines(name)
    time.sleep(min(1.0, seconds - 0.15))
    assert job.lines(name) == lines, f"{name} goes on although the link of {cut_off} is cut"


def wait_for_notice(trial, job, cut_off, marks, begin, silence_s):
    """Both ends of the cut link notice it. The other worker has nothing to notice if a worker was cut off."""
    observers = ["ps:0", cut_off] if cut_off != "ps:0" else list(job.tasks)
    for name in observers:
        wait_until(lambda: NOTICED.search(job.said(name)[marks[name]:]), f"a log line of {name} about the cut",
                   silence_s + 10)
        took_s = time.monotonic() - begin
        trial.measure("noticed" + ("" if silence_s == SILENCE_S[False] else f" ({silence_s} s of silence)"), took_s)
        trial.check(took_s <= silence_s + NOTICE_SLACK_S,
                    f"{name} noticed the cut only after {took_s:.1f} s\n{job.tails()}")


def check_recovery(trial, job, cut_off, sync, kind):
    """The work of every worker goes on. A short cut is not noticed, so that TCP alone decides when it sends again."""
    begin = time.monotonic()
    lines = {name: job.lines(name) for name in job.workers}
    names = job.workers if cut_off == "ps:0" or sync else [cut_off]
    resumed_s = job.wait_for_progress(names, mark=lines) - begin
    trial.measure(f"resumed after a {kind} cut", resumed_s)
    trial.check(resumed_s <= RESUME_GOAL_S, f"the work went on only {resumed_s:.1f} s after the link was whole again\n"
                f"{job.tails()}")


PARTS = [Part("links", "cut links are noticed, and the work goes on when they are whole", run, 100, 6, unit="cuts",
              why_not=machine.why_no_networks)]
