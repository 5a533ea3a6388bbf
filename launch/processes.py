"""The processes of a cluster on this host: started so that none can outlive the launcher, watched, stopped in order.

Stopping means: the workers get the signal, so that they save and leave; when they are gone the ps get it; what is still
there after the grace is killed."""

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
SAME_SIGNAL_S = 0.3  # timeout(1), and make under Ctrl-C, deliver one request to stop twice
LONGEST_SLEEP_S = 3600.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class UsageError(Exception):
    """The user or the machine is wrong: one sentence, and the exit code."""

    def __init__(self, message, code=EXIT_USAGE):
        super().__init__(message)
        self.code = code


def say(message):
    if sys.stderr is None:  # closed
        return
    try:
        # On a terminal worker 0 may have left its progress line, which ends without a line break: it is wiped.
        start = "\r\033[K" if sys.stderr.isatty() else ""
        print(f"{start}launch: {message}", file=sys.stderr, flush=True)
    except OSError:
        pass  # A closed terminal must not keep us from stopping the tasks.


class Task:
    """One process of the cluster: what it is, where it listens, and, once started, how it fares."""

    def __init__(self, job, index, host, gpu=None):
        self.job = job
        self.index = index
        self.host = host
        self.gpu = gpu  # what CUDA_VISIBLE_DEVICES is set to; None leaves it alone
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
    """What each child does between fork and exec. Children are forked from the main thread, which lives as long as the
    launcher: the kernel sends the parent-death signal when the forking *thread* ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    launcher_pid = os.getpid()

    def set_up():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != launcher_pid:
            os._exit(EXIT_LOST_PEER)  # The launcher died before the line above could take effect.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)  # A shell's "&" makes us ignore SIGINT; the tasks need it.
        signal.pthread_sigmask(signal.SIG_SETMASK, parent_signal_mask)

    return set_up


def start(task, command, child_setup):
    environment = dict(os.environ)
    if task.job == "ps":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    elif task.gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = task.gpu
    try:
        # A session of its own: the terminal's Ctrl-C reaches only us, and a whole process group can be ended at once.
        task.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, start_new_session=True,
                                        preexec_fn=child_setup)
    except (OSError, subprocess.SubprocessError) as error:
        lacking = getattr(error, "errno", None) in LACKING
        hint = "; see ulimit -u, ulimit -n and the container's limits" if lacking else ""
        raise UsageError(f"could not start {task.name} ({command[0]}): {error}{hint}",
                         EXIT_RESOURCES if lacking else EXIT_USAGE) from error


def send(task, number):
    """To the task's whole process group: --binary may be a script around the program."""
    task.signalled = True
    try:
        os.killpg(task.process.pid, number)
    except ProcessLookupError:
        pass


def reap(tasks):
    """Returns the tasks that have just ended. What a dead task left in its process group goes with it, and this before
    the process is reaped, while its number cannot belong to anybody else."""
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
    """Waits for the tasks, stops all when one fails or a signal asks for it. exit_code is the launcher's own."""

    def __init__(self, tasks, signals, grace_s, ps_wait_s):
        self.tasks = tasks
        self.signals = signals  # blocked, so that they wait for us to ask for them
        self.grace_s = grace_s
        self.ps_wait_s = ps_wait_s
        self.exit_code = 0
        self.stop_signal = None  # once set, everything is on its way out
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
            self.stop(signal.SIGTERM if number == signal.SIGHUP else number)  # The program saves on SIGINT and SIGTERM.
        elif number == signal.SIGINT and time.monotonic() - self.stopped_at > SAME_SIGNAL_S:
            say("interrupted again: killing " + names(self.running()))
            self.kill()

    def on_ended(self, ended):
        failed = [task for task in ended if task.process.returncode != 0]
        if self.stop_signal is None:
            # Of tasks that end together, the one that lost its peer is the consequence, not the cause.
            for task in sorted(failed, key=lambda task: task.process.returncode == EXIT_LOST_PEER)[:1]:
                others = self.running()
                say(how_it_ended(task) + (f"; stopping the others ({names(others)})" if others else ""))
                self.exit_code = shell_code(task.process.returncode)
                self.stop(signal.SIGTERM)
        if not self.running("worker"):
            if self.stop_signal is not None:
                self.pass_on("ps")  # The ps serve until the workers have left.
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
        """Kills and reaps whatever is left. Nothing can delay SIGKILL for long, so this waits without a limit."""
        if self.stop_signal is None:
            self.stop_signal, self.stopped_at = signal.SIGKILL, time.monotonic()
        for task in self.running():
            send(task, signal.SIGKILL)
        for task in self.running():
            task.process.wait()


def names(tasks):
    return ", ".join(task.name for task in tasks)


def run_cluster(tasks, commands, grace_s, ps_wait_s):
    """Starts commands[i] as tasks[i], waits for all, and returns the launcher's exit code. Main thread only.
    ps_wait_s: how long the ps tasks may outlive the workers; None: until a signal comes."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # Where it is ignored the kernel would reap our children itself.
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup(1) ignores it.
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
