"""The processes of a cluster on this host: starts them so that none can outlive the launcher, watches them, and stops
them in order.

To stop, the workers get the signal, so that they save and leave; after they have ended, the ps tasks get it. Tasks that
are still running after the grace time are killed."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time

EXIT_USAGE = 2
EXIT_RESOURCES = 7
EXIT_LOST_PEER = 138

LACKING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
SAME_SIGNAL_S = 0.3  # timeout(1), and make under Ctrl-C, send one request to stop twice
LONGEST_SLEEP_S = 3600.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class UsageError(Exception):
    """An error of the user or the machine: one sentence, and the exit code."""

    def __init__(self, message, code=EXIT_USAGE):
        super().__init__(message)
        self.code = code


def say(message):
    if sys.stderr is None:  # closed
        return
    try:
        # On a terminal worker 0 may have left its progress line, which ends without a line break. It is erased.
        start = "\r\033[K" if sys.stderr.isatty() else ""
        print(f"{start}launch: {message}", file=sys.stderr, flush=True)
    except OSError:
        pass  # a closed terminal must not prevent us from stopping the tasks


class Task:
    """One process of the cluster: its job, address and, once started, its state."""

    def __init__(self, job, index, host, gpu=None):
        self.job = job
        self.index = index
        self.host = host
        self.gpu = gpu  # the value for CUDA_VISIBLE_DEVICES; None does not change it
        self.port = None
        self.process = None
        self.signalled = False

    @property
    def name(self):
        return f"{self.job}:{self.index}"

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    @property
    def running(self):
        return self.process is not None and self.process.returncode is None


def make_child_setup(parent_signal_mask):
    """The setup of each child between fork and exec. Children are forked from the main thread, which lives as long as
    the launcher, because the kernel sends the parent-death signal when the forking *thread* ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    launcher_pid = os.getpid()

    def set_up():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != launcher_pid:
            os._exit(EXIT_LOST_PEER)  # the launcher died before the line above took effect
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)  # a shell's "&" makes this process ignore SIGINT; the tasks need it
        signal.pthread_sigmask(signal.SIG_SETMASK, parent_signal_mask)

    return set_up


def start(task, command, child_setup):
    environment = dict(os.environ)
    if task.job == "ps":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    elif task.gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = task.gpu
    try:
        # A separate session: the terminal's Ctrl-C reaches only the launcher, and a whole process group can be ended at
        # once.
        task.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, start_new_session=True,
                                        preexec_fn=child_setup)
    except (OSError, subprocess.SubprocessError) as error:
        lacking = getattr(error, "errno", None) in LACKING
        hint = "; see ulimit -u, ulimit -n and the container's limits" if lacking else ""
        raise UsageError(f"could not start {task.name} ({command[0]}): {error}{hint}",
                         EXIT_RESOURCES if lacking else EXIT_USAGE) from error


def send(task, number):
    """Sends a signal to the task's whole process group, because --binary can be a script around the program."""
    task.signalled = True
    try:
        os.killpg(task.process.pid, number)
    except ProcessLookupError:
        pass


def reap(tasks):
    """Returns the tasks that have just ended. Kills the rest of a dead task's process group before the process is
    reaped, because until then its number cannot belong to a different process."""
    ended = []
    for task in tasks:
        if task.running and os.waitid(os.P_PID, task.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            send(task, signal.SIGKILL)
            task.process.wait()
            ended.append(task)
    return ended


def shell_code(returncode):
    return 128 - returncode if returncode < 0 else returncode


def how_it_ended(task):
    code = task.process.returncode
    if code >= 0:
        return f"{task.name} exited with code {code}"
    return f"{task.name} was killed by signal {-code} ({signal.strsignal(-code)})"


class Watch:
    """Waits for the tasks, and stops all when one fails or on a signal. exit_code is the launcher's exit code."""

    def __init__(self, tasks, signals, grace_s, ps_wait_s):
        self.tasks = tasks
        self.signals = signals  # blocked, so that they can be awaited
        self.grace_s = grace_s
        self.ps_wait_s = ps_wait_s
        self.exit_code = 0
        self.stop_signal = None  # once set, all tasks are being stopped
        self.stopped_at = None
        self.workers_done_at = None

    def run(self):
        while self.running():
            received = signal.sigtimedwait(self.signals, self.seconds_left())
            if received is not None and received.si_signo != signal.SIGCHLD:
                self.on_signal(received.si_signo)
            self.on_ended(reap(self.tasks))
            self.on_time()
        return self.exit_code

    def running(self, job=None):
        return [task for task in self.tasks if task.running and job in (None, task.job)]

    def deadline(self):
        if self.stop_signal is not None:
            return self.stopped_at + self.grace_s
        if self.workers_done_at is not None and self.ps_wait_s is not None:
            return self.workers_done_at + self.ps_wait_s
        return None

    def seconds_left(self):
        deadline = self.deadline()
        return LONGEST_SLEEP_S if deadline is None else min(LONGEST_SLEEP_S, max(0.0, deadline - time.monotonic()))

    def on_signal(self, number):
        if self.stop_signal is None:
            self.exit_code = 128 + number
            say(f"{signal.strsignal(number).lower()}: the workers save and leave (at most {self.grace_s:g} s; "
                "Ctrl-C again kills them)")
            self.stop(signal.SIGTERM if number == signal.SIGHUP else number)  # the program saves on SIGINT and SIGTERM
        elif number == signal.SIGINT and time.monotonic() - self.stopped_at > SAME_SIGNAL_S:
            say("interrupted again: killing " + names(self.running()))
            self.kill()

    def on_ended(self, ended):
        failed = [task for task in ended if task.process.returncode != 0]
        if self.stop_signal is None:
            # If tasks end at the same time, a task that lost its peer is a consequence, not the cause.
            for task in sorted(failed, key=lambda task: task.process.returncode == EXIT_LOST_PEER)[:1]:
                others = self.running()
                say(how_it_ended(task) + (f"; stopping the others ({names(others)})" if others else ""))
                self.exit_code = shell_code(task.process.returncode)
                self.stop(signal.SIGTERM)
        if not self.running("worker"):
            if self.stop_signal is not None:
                self.pass_on("ps")  # the ps tasks serve until the workers have left
            elif self.workers_done_at is None:
                self.workers_done_at = time.monotonic()
                if self.ps_wait_s is None and self.running("ps"):
                    say(f"the workers are done; still running until Ctrl-C: {names(self.running('ps'))}")

    def on_time(self):
        deadline = self.deadline()
        late = self.running()
        if deadline is None or time.monotonic() < deadline or not late:
            return
        if self.stop_signal is not None:
            say(f"still there after {self.grace_s:g} s, killing {names(late)}")
        else:
            say(f"{names(late)} still there {self.ps_wait_s:g} s after the last worker was done: killing")
            self.exit_code = EXIT_LOST_PEER
        self.kill()

    def stop(self, number):
        self.stop_signal = number
        self.stopped_at = time.monotonic()
        self.pass_on("worker")
        if not self.running("worker"):
            self.pass_on("ps")

    def pass_on(self, job):
        for task in self.running(job):
            if not task.signalled:
                send(task, self.stop_signal)

    def kill(self):
        """Kills and reaps the remaining tasks. Waits without a limit, because SIGKILL cannot be delayed for long."""
        if self.stop_signal is None:
            self.stop_signal, self.stopped_at = signal.SIGKILL, time.monotonic()
        for task in self.running():
            send(task, signal.SIGKILL)
        for task in self.running():
            task.process.wait()


def names(tasks):
    return ", ".join(task.name for task in tasks)


def run_cluster(tasks, commands, grace_s, ps_wait_s):
    """Starts commands[i] as tasks[i], waits for all, and returns the launcher's exit code. Main thread only. ps_wait_s:
    how long the ps tasks can outlive the workers; None means until a signal."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it were ignored, the kernel would reap our children itself
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup(1) ignores it
        signals.add(signal.SIGHUP)
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    watch = Watch(tasks, signals, grace_s, ps_wait_s)
    try:
        child_setup = make_child_setup(old_mask)
        for task, command in zip(tasks, commands):
            start(task, command, child_setup)
        return watch.run()
    finally:
        watch.kill()
