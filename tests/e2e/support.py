"""Drives real processes of the program over real sockets and files: finds the program, starts processes and clusters,
waits with deadlines, and reads the lines on stdout. It does not create data; small_runs.py adds a data set and training
runs, and terminal.py a pseudo-terminal.

A test file has unittest cases derived from EndToEndTest and ends with support.main(). Every process that a test starts
with this module is killed when its case ends, and also when the test itself is killed.
"""

import contextlib
import ctypes
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LAUNCHER = ROOT / "launch" / "launch.py"

SKIPPED = 77  # the exit code that meson counts as skipped
DEADLINE_S = 60.0  # generous: a test machine may be busy
LONG_DEADLINE_S = 100.0  # for whole clusters
PR_SET_PDEATHSIG = 1

PROGRESS_LINE = re.compile(r"^Worker : (\d+), Step: (\d+), Accuracy \(batch\): ([01]\.\d{4})$")
TEST_ACCURACY_LINE = re.compile(r"^Test-Accuracy: ([01]\.\d{4})$")
CLOSING_LINE = re.compile(r"^test_accuracy=([01]\.\d{4}) global_step=(\d+)$")


def find_program():
    """The program in $DISTMNIST (meson sets it), otherwise in the build folder; None if it is not built."""
    named = os.environ.get("DISTMNIST")
    for place in [named] if named else [ROOT / "build" / "distmnist", ROOT / "build" / "tools" / "distmnist"]:
        if os.access(place, os.X_OK):
            return str(place)
    return None


def real_mnist():
    """The folder with the real data set ($DISTMNIST_TEST_DATA), or None."""
    folder = os.environ.get("DISTMNIST_TEST_DATA", "")
    return folder if folder and os.path.isdir(folder) else None


def wait_until(condition, what, deadline_s=DEADLINE_S):
    """Returns the first true value of condition(); after the deadline raises an AssertionError that names `what`."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"gave up after waiting {deadline_s:g} s for {what}")
        time.sleep(0.02)


def without_privileges():
    """A command prefix that makes permissions of files and folders apply to root, too."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def is_alive(pid):
    """False also for a zombie, which has ended but has not been reaped by its parent."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Below the range of outgoing connections. Tests that run at the same time start at different ports, and a test never
# uses a port twice.
_ports = itertools.count(10240 + (os.getpid() * 97) % 20000)


def free_ports(count):
    """Ports on which no process listens now."""
    ports = []
    for port in itertools.islice(_ports, 2000):
        with socket.socket() as probe:
            with contextlib.suppress(OSError):
                probe.bind(("", port))
                ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError(f"{count} free ports not found")


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _set_up(also):
    if also:
        also()
    _die_with_parent()  # after a change of user, which would reset it


def heed_signals():
    """Restores the default signal actions, because nohup(1) and background jobs of a shell pass ignored signals on, and
    the tested programs respect that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Process:
    """A started process with its output in files, so that no pipe can fill up and block it."""

    def __init__(self, name, command, folder, env=None, stdin=subprocess.DEVNULL, cwd=None, preexec_fn=None):
        """`preexec_fn` is called in the new process before the command begins."""
        self.name = name
        self.out_path = pathlib.Path(folder) / f"{name}.out"
        self.err_path = pathlib.Path(folder) / f"{name}.err"
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.popen = subprocess.Popen([str(part) for part in command], stdin=stdin, stdout=out, stderr=err, cwd=cwd,
                                          env={**os.environ, **(env or {})}, start_new_session=True,
                                          preexec_fn=lambda: _set_up(preexec_fn))
        self.pid = self.popen.pid

    @property
    def stdout(self):
        return self.out_path.read_text(errors="replace")

    @property
    def stderr(self):
        return self.err_path.read_text(errors="replace")

    def send(self, number):
        self.popen.send_signal(number)

    def wait(self, deadline_s=DEADLINE_S):
        """The exit code (-N: killed by signal N); after the deadline an AssertionError with the end of the output."""
        try:
            return self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {deadline_s:g} s\n{self.tail()}") from None

    def wait_for(self, pattern, deadline_s=DEADLINE_S):
        """Waits until a line of stdout or stderr matches the regular expression; returns the match."""

        def look():
            found = re.search(pattern, self.stdout + self.stderr, re.MULTILINE)
            if not found and self.popen.poll() is not None:
                found = re.search(pattern, self.stdout + self.stderr, re.MULTILINE)
                if not found:
                    raise AssertionError(f"{self.name} ended with {self.popen.returncode} before it said "
                                         f"'{pattern}'\n{self.tail()}")
            return found

        return wait_until(look, f"'{pattern}' from {self.name}", deadline_s)

    def tail(self, size=3000):
        return f"--- stdout of {self.name}\n{self.stdout[-size:]}\n--- stderr of {self.name}\n{self.stderr[-size:]}"

    def peak_memory_kb(self):
        """VmHWM of the process while it runs."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE).group(1))

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait()


class EndToEndTest(unittest.TestCase):
    """A case with a new folder (self.folder). After it neither processes nor files remain."""

    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="distmnist-e2e-"))
        self.processes = []
        self.addCleanup(self._clean_up)

    def _clean_up(self):
        for process in self.processes:
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, command, name=None, **options):
        process = Process(name or f"process{len(self.processes)}", command, self.folder, **options)
        self.processes.append(process)
        return process

    def program(self):
        found = find_program()
        if not found:
            self.skipTest("the program is not built")
        return found

    def mnist(self):
        folder = real_mnist()
        if not folder:
            self.skipTest("set DISTMNIST_TEST_DATA to the folder with its four files")
        return folder

    def run_program(self, *arguments, deadline_s=DEADLINE_S, **options):
        """Runs the program as one process to its end."""
        process = self.start([self.program(), *arguments], **options)
        process.wait(deadline_s)
        return process

    def cluster(self, num_ps=1, num_workers=2, arguments=()):
        return Cluster(self, num_ps, num_workers, arguments)

    def assert_exit(self, process, code, deadline_s=DEADLINE_S):
        self.assertEqual(process.wait(deadline_s), code, f"exit code of {process.name}\n{process.tail()}")

    def assert_fails(self, process, code, *says, deadline_s=DEADLINE_S):
        """Checks that it ends with `code` and that its stderr matches each regular expression of `says`."""
        self.assert_exit(process, code, deadline_s)
        for pattern in says:
            self.assertRegex(process.stderr, pattern, process.tail())


class Cluster:
    """ps and workers as separate processes on this host. Tasks can be started and restarted one by one."""

    def __init__(self, test, num_ps, num_workers, arguments):
        self.test = test
        self.arguments = [str(argument) for argument in arguments]
        ports = free_ports(num_ps + num_workers)
        self.ps_ports, self.worker_ports = ports[:num_ps], ports[num_ps:]
        self.tasks = {}  # "worker:1" -> the latest Process of this task

    def flags(self):
        return ["--ps_hosts=" + ",".join(f"localhost:{port}" for port in self.ps_ports),
                "--worker_hosts=" + ",".join(f"localhost:{port}" for port in self.worker_ports)]

    def start_task(self, job, index, *extra, **options):
        command = [self.test.program(), *self.flags(), f"--job_name={job}", f"--task_index={index}", *self.arguments,
                   *extra]
        # Unique within the test, together with its files, because the test can have several clusters.
        task = self.test.start(command, name=f"{job}_{index}_start{len(self.test.processes)}", **options)
        self.tasks[f"{job}:{index}"] = task
        return task

    def start(self, **options):
        for index in range(len(self.ps_ports)):
            self.start_task("ps", index, **options)
        for index in range(len(self.worker_ports)):
            self.start_task("worker", index, **options)
        return self

    def ps(self, index=0):
        return self.tasks[f"ps:{index}"]

    def worker(self, index):
        return self.tasks[f"worker:{index}"]

    def wait_all(self, deadline_s=DEADLINE_S):
        """Exit codes by task name, with one deadline for all tasks together."""
        end = time.monotonic() + deadline_s
        return {name: task.wait(max(0.1, end - time.monotonic())) for name, task in self.tasks.items()}

    def assert_all_done(self, deadline_s=DEADLINE_S):
        codes = self.wait_all(deadline_s)
        failed = [self.tasks[name].tail() for name, code in codes.items() if code != 0]
        self.test.assertFalse(failed, f"exit codes {codes}\n" + "\n".join(failed))


def progress_lines(text):
    """[(worker, step, accuracy)] of the lines `Worker : 0, Step: 100, Accuracy (batch): 0.9800`."""
    found = [PROGRESS_LINE.match(line) for line in text.splitlines()]
    return [(int(m.group(1)), int(m.group(2)), float(m.group(3))) for m in found if m]


def closing_line(text):
    """(test accuracy, global step) of the last line. Raises an AssertionError if the last line has a different form, or
    if the line `Test-Accuracy: 0.9871` is missing or does not match."""
    lines = text.splitlines()
    last = CLOSING_LINE.match(lines[-1]) if lines else None
    if not last:
        raise AssertionError(f"the last line is not 'test_accuracy=... global_step=...':\n{text[-2000:]}")
    accuracies = [m.group(1) for m in map(TEST_ACCURACY_LINE.match, lines) if m]
    if accuracies != [last.group(1)]:
        raise AssertionError(f"Test-Accuracy lines {accuracies}, closing line {last.group(0)}")
    return float(last.group(1)), int(last.group(2))


def main():
    """Runs the cases of the calling file. If all of them are skipped, the test is skipped with the reasons."""
    heed_signals()
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    for case, reason in result.skipped:
        print(f"skipped case: {case.id()}: {reason}")
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print(f"cases: {max(result.testsRun - failed - len(result.skipped), 0)} passed, {failed} failed, "
          f"{len(result.skipped)} skipped", flush=True)
    if not result.wasSuccessful() or result.testsRun == 0:
        sys.exit(1)
    sys.exit(SKIPPED if len(result.skipped) == result.testsRun else 0)
