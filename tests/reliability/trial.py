"""What a part of the campaign is made of: trials. A trial has a seed, a folder, processes that end with it, and notes
that go into its line of results."""

import contextlib
import dataclasses
import os
import pathlib
import random
import shutil
import signal
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import support  # noqa: E402


class Violation(Exception):
    """The program broke a promise."""


class Hang(Violation):
    """The program did not do in time what it has to do."""


class Skip(Exception):
    """This machine lacks what the trial needs; the text says what."""


class Exhausted(Exception):
    """The part has fewer different trials than this seed."""


@dataclasses.dataclass
class Part:
    name: str
    summary: str
    run: object  # called with a Trial
    count: int  # events of a whole campaign
    ci_count: int
    unit: str = "trials"  # of the events
    why_not: object = lambda: ""  # a reason if this machine cannot run the part
    limit_s: float = 300.0  # for one trial; after that the trial itself counts as a hang
    goals: dict = dataclasses.field(default_factory=dict)  # measurement -> seconds that its p99 must not exceed


class Trial:
    """A context manager. After it neither processes nor mounts remain. The folder remains if `keep` was set."""

    def __init__(self, part, seed, folder, data, ci=False):
        self.part, self.seed, self.folder, self.data, self.ci = part, seed, pathlib.Path(folder), data, ci
        self.rng = random.Random(f"{part}-{seed}")
        self.processes = []
        self.keep = False
        self.done = []  # what was done, for a reader of the results
        self.events = 0
        self.measured = {}  # name -> [seconds or a share]
        self.cleanups = contextlib.ExitStack()

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, *_):
        for process in self.processes:
            with contextlib.suppress(OSError):
                os.kill(process.pid, signal.SIGCONT)
        self.cleanups.close()  # a frozen disk is thawed before its users are awaited
        for process in self.processes:
            process.kill()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- What support.Cluster asks of a test ----

    def program(self):
        return support.find_program()

    def start(self, command, name=None, **options):
        process = support.Process(name or f"process{len(self.processes)}", command, self.folder, **options)
        self.processes.append(process)
        return process

    # ---- Notes ----

    def did(self, what, events=0):
        self.done.append(what)
        self.events += events

    def measure(self, name, value):
        self.measured.setdefault(name, []).append(round(value, 4))

    def check(self, condition, message):
        if not condition:
            raise Violation(message)


def wait_until(condition, what, limit_s=60.0):
    """The first true value of condition(). Later than limit_s it is a hang."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Hang(f"gave up after waiting {limit_s:g} s for {what}")
        time.sleep(0.005)


def becomes_true(condition, limit_s):
    with contextlib.suppress(Hang):
        return bool(wait_until(condition, "", limit_s))
    return False


@contextlib.contextmanager
def time_limit(seconds):
    """A trial that takes longer hangs, whatever it waits for."""

    def ring(*_):
        raise Hang(f"the trial still ran after {seconds:g} s")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run_trial(part, seed, folder, data, ci):
    """Runs one trial and returns its line of results, a dictionary."""
    begin = time.monotonic()
    with Trial(part.name, seed, folder, data, ci) as trial:
        result, message = "ok", ""
        try:
            with time_limit(part.limit_s):
                part.run(trial)
        except Skip as why:
            result, message = "skipped", str(why)
        except Exhausted:
            result = "exhausted"
        except Hang as why:
            result, message = "hang", f"{why}\n{stacks(trial)}"
        except (Violation, AssertionError) as why:
            result, message = "violation", str(why)
        except Exception:  # a fault of the campaign must not look like a success
            result, message = "violation", traceback.format_exc(limit=6)
        trial.keep = result in ("hang", "violation")
        if trial.keep:
            (trial.folder / "failure.txt").write_text(f"{message}\n\n" + "\n".join(trial.done) + "\n")
        return {"part": part.name, "seed": seed, "ci": ci, "result": result, "events": max(trial.events, 1),
                "seconds": round(time.monotonic() - begin, 3), "done": trial.done, "measured": trial.measured,
                "message": message[:4000], **({"logs": str(trial.folder)} if trial.keep else {})}


def stacks(trial):
    """What the processes that still run wait for, for the diagnosis of a hang."""
    lines = []
    for process in trial.processes:
        if process.popen.poll() is not None:
            continue
        lines.append(f"{process.name} ({process.pid}):")
        for task in sorted(pathlib.Path(f"/proc/{process.pid}/task").glob("*")):
            with contextlib.suppress(OSError):
                lines.append(f"  thread {task.name}: {(task / 'wchan').read_text() or 'runs'}")
    return "\n".join(lines)
