"""A campaign attacks one job from one position. Each kind of attack gets short windows that alternate with quiet ones.
The job's rate is the rate in all attacked windows relative to the quiet windows between them, so slow changes in the
load of the machine affect both. The rate is too low, for one kind of attack or for all together, if the difference is
significant (two standard errors of the pairs of windows). Attackers keep a pace, because their own use of the
processors must not count as a slow ps."""

import contextlib
import dataclasses
import math
import statistics
import time

import attacker
import curve
from job import IN_STEP, Job, Rate, checkpoint, when

WINDOW_S = 0.2
PAIRS = 5  # pairs of an attacked and a quiet window, at least
MORE_PAIRS = 20  # if the rate seems too low, to be certain
MOST_CONNECTIONS_A_SECOND = 75
LEAST_RATE_OF_A_KIND = 0.8  # relative to the quiet windows; some kinds are floods
LEAST_CONNECTIONS = 0.8  # of the requested number; some attacks keep connections open
MOST_MEMORY_KIB = 16 * 1024
MOST_LOG_LINES, MOST_LOG_LINES_A_MINUTE = 60, 8  # at first each address has a line of each kind
DESCRIPTORS_BACK_S = 10.0
STOPPED = 143


def ratio_of(rates):
    """The ratio of all steps under attack to all quiet steps; the windows have similar lengths. `rates`: (attacked,
    quiet)."""
    quiet = sum(quiet for _, quiet in rates)
    return sum(attacked for attacked, _ in rates) / quiet if quiet else float("nan")


def are_too_low(rates, least):
    """True if their ratio is significantly below `least`."""
    short = [least * quiet - attacked for attacked, quiet in rates]
    error = statistics.stdev(short) / math.sqrt(len(short)) if len(short) > 1 else 0.0
    return not short or statistics.mean(short) > 2 * error


@dataclasses.dataclass
class Row:
    """One kind of attack from one position, over all its windows."""

    position: str
    kind: str
    connections: int = 0
    messages: int = 0
    cut: int = 0
    leaks: int = 0
    answers: dict = dataclasses.field(default_factory=dict)
    refusals: dict = dataclasses.field(default_factory=dict)
    memory_kib: int = 0
    rates: list = dataclasses.field(default_factory=list)  # (attacked, quiet) for each pair of windows
    faults: list = dataclasses.field(default_factory=list)

    def add(self, done):
        counts = done["counts"]
        self.connections += counts.get("connections", 0)
        self.messages += counts.get("messages", 0)
        self.cut += counts.get("cut", 0)
        self.leaks += counts.get("leaks", 0)
        for name in ("answers", "refusals"):
            into = getattr(self, name)
            for key, count in done[name].items():
                into[key] = into.get(key, 0) + count
        self.faults += [f"the attacker of '{self.kind}' failed: {what}" for what in done["faults"]]

    def what_happened(self):
        said = [f"cut off {self.cut}"] if self.cut else []
        said += [f"refused with {code}: {count}" for code, count in sorted(self.refusals.items())]
        said += [f"{name} {count}" for name, count in sorted(self.answers.items()) if name != "refuse"]
        return ", ".join(said) or "no answer"


@dataclasses.dataclass
class Campaign:
    position: str
    kinds: dict  # name -> function
    connections: int  # in total
    host: str = "127.0.0.1"
    unix: bool = False
    user: int | None = None
    source: str = ""
    secure: bool = False
    made_up_keys: bool = False
    flags: tuple = ()  # flags of the ps
    link: object = None  # a network.Link to the attacker, which then has a separate network
    heard: bool = True  # whether messages can reach the ps; with keys they must not
    least_rate: float = 0.95  # relative to the quiet windows, under all kinds together

    rows: list = dataclasses.field(default_factory=list)
    faults: list = dataclasses.field(default_factory=list)
    memory_kib: int = 0  # largest increase since before the attack
    step: int = 0
    tensors: dict = dataclasses.field(default_factory=dict)

    def rates(self):
        return [pair for row in self.rows for pair in row.rates]

    def narrow(self, name):
        """Keeps only the kinds with this in their names, with the same number of connections each."""
        kinds = {kind: function for kind, function in self.kinds.items() if name in kind}
        self.connections = self.connections * len(kinds) / len(self.kinds)
        self.kinds = kinds

    def run(self, program, hello, seed):
        with contextlib.ExitStack() as stack:
            if self.link:
                stack.enter_context(self.link)
            job = stack.enter_context(Job(program, self.position, self.host, IN_STEP, secure=self.secure))
            job.start_task("ps:0", *self.flags)
            job.start("worker:0", "worker:1")
            job.wait_for_steps(300)
            target = attacker.Target(self.host, job.port, hello, job.server_key(), unix=self.unix, source=self.source)
            if self.made_up_keys:
                target.own_keys = curve.key_pair()
                target.extras["public"] = job.key_of("worker-0")[0]
            foe = attacker.Process(target, self.kinds, seed, self.user, own_network=self.link is not None)
            stack.callback(foe.close)
            foe.result()
            if self.link:
                stack.enter_context(self.link.join(foe.pid))
            self._attack(job, foe)
            self._end(job)
        return self

    def _attack(self, job, foe):
        before, begin_s = (job.descriptors(), job.log_lines()), time.monotonic()
        job.forget_peak()
        time.sleep(1)
        quiet_kib = job.peak_kib()
        self.rows = [Row(self.position, name) for name in self.kinds]
        connections = self.connections / len(self.kinds)
        pairs = max(PAIRS, math.ceil(connections / MOST_CONNECTIONS_A_SECOND / WINDOW_S))
        each = max(1, round(connections / pairs))
        for row in self.rows:
            while len(row.rates) < pairs or (len(row.rates) < pairs + MORE_PAIRS
                                             and are_too_low(row.rates, LEAST_RATE_OF_A_KIND)):
                self._pair(job, foe, row, each, quiet_kib)
                if not self._is_well(job):
                    return
        if not when(lambda: job.descriptors() <= before[0], DESCRIPTORS_BACK_S):
            self.faults.append(f"the ps had {before[0]} descriptors and has {job.descriptors()} "
                               f"{DESCRIPTORS_BACK_S:g} s after the attack")
        lines = job.log_lines() - before[1]
        if lines > MOST_LOG_LINES + MOST_LOG_LINES_A_MINUTE * (time.monotonic() - begin_s) / 60:
            self.faults.append(f"the ps logged {lines} lines")

    def _pair(self, job, foe, row, connections, quiet_kib):
        job.forget_peak()
        before_kib = job.peak_kib()
        rate = Rate(job)
        foe.ask(row.kind, connections, WINDOW_S)
        row.add(foe.result())
        attacked, rate = rate.end(), Rate(job)
        time.sleep(WINDOW_S)
        row.rates.append((attacked, rate.end()))
        row.memory_kib = max(row.memory_kib, job.peak_kib() - before_kib)
        self.memory_kib = max(self.memory_kib, job.peak_kib() - quiet_kib)

    def _is_well(self, job):
        ended = [f"{task} ended with {process.popen.returncode}" for task, process in job.tasks.items()
                 if process.popen.poll() is not None]
        if ended and not self.faults:
            self.faults += [*ended, job.said()]
        return not ended

    def _end(self, job):
        if not self._is_well(job):
            return
        codes, self.step = job.stop()
        wrong = {task: code for task, code in codes.items() if code != STOPPED}
        if wrong:
            self.faults += [f"exit codes {wrong} after SIGTERM instead of {STOPPED}", job.said()]
        if self.step:
            self.tensors = checkpoint(job.log_dir, self.step)
        for row in self.rows:
            self._judge(row)
        made = sum(row.connections for row in self.rows)
        if made < LEAST_CONNECTIONS * self.connections:
            self.faults.append(f"only {made} of {self.connections:g} connections were made")
        if self.heard and not any(row.answers or row.refusals for row in self.rows):
            self.faults.append("no attack was answered, so none reached the ps's checks")
        if are_too_low(self.rates(), self.least_rate):
            self.faults.append(f"the attacks leave {ratio_of(self.rates()):.0%} of the rate")
        if self.memory_kib > MOST_MEMORY_KIB:
            self.faults.append(f"the attacks cost {self.memory_kib / 1024:.1f} MiB")

    def _judge(self, row):
        self.faults += row.faults
        if are_too_low(row.rates, LEAST_RATE_OF_A_KIND):
            self.faults.append(f"'{row.kind}' leaves {ratio_of(row.rates):.0%} of the rate ({len(row.rates)} windows)")
        if row.leaks:
            self.faults.append(f"'{row.kind}': {row.leaks} answers told a stranger the lease of a worker")
        if not self.heard and (row.answers or row.refusals):
            self.faults.append(f"'{row.kind}' reached the ps: {row.what_happened()}")

    def compare(self, reference):
        """Compares the checkpoint with that of an undisturbed job."""
        if not self.step:
            self.faults.append("the job did not leave a checkpoint")
            return
        wanted = reference.tensors(self.step)
        differing = [name for name, values in wanted.items() if self.tensors.get(name) != values]
        if differing or self.tensors.keys() != wanted.keys():
            self.faults.append(f"step {self.step} differs from an undisturbed job: {differing or 'different names'}")
