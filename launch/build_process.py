"""A tool of the build as a process that ends with this one: on Ctrl-C it stops cleanly and leaves no processes
behind."""

import ctypes
import os
import signal
import subprocess

PR_SET_PDEATHSIG = 1  # linux/prctl.h
GRACE_S = 10


class Interrupted(Exception):
    """A signal requested a stop."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


def heed_signals():
    """Makes SIGINT, SIGTERM and SIGHUP raise Interrupted, once. SIGINT also if a shell's "&" made this process ignore
    it; not SIGHUP under nohup(1)."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.append(signal.SIGHUP)

    def stop(number, frame):
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    for each in signals:
        signal.signal(each, stop)


def run(command, on_line, environment=None):
    """Runs the command, passes each line of its output to on_line, and returns its exit code (-N: killed by signal
    N)."""
    libc = ctypes.CDLL(None)

    def set_up():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    in_english = {"LANGUAGE": "en"}  # because the callers search for some of the words
    # A separate session: the terminal's Ctrl-C reaches only this process, and the whole group can be stopped at once.
    process = subprocess.Popen([os.fspath(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, env={**os.environ, **in_english, **(environment or {})},
                               start_new_session=True, preexec_fn=set_up)
    try:
        for line in process.stdout:
            on_line(line.decode(errors="replace").rstrip("\n"))
        return process.wait()
    finally:
        stop(process)


def stop(process):
    """Sends SIGINT, on which ninja removes incomplete files, and then SIGKILL to the rest of the group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    process.stdout.close()
