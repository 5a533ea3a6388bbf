"""Drives a command on a pseudo-terminal and shows what a person would see. Use it instead of support.Process where
output or Ctrl-C depends on a terminal."""

import os
import pty
import re
import struct
import subprocess
import fcntl
import termios
import time

CONTROL = re.compile(r"\r|\n|\033\[K|\033\[[\d;]*m")


class Terminal:
    """A process group whose stdin, stdout and stderr are a separate terminal: Ctrl-C typed there sends it a SIGINT."""

    def __init__(self, command, columns=100, **options):
        self.handle, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        self.written = b""
        self.popen = subprocess.Popen([str(part) for part in command], stdin=end, stdout=end, stderr=end,
                                      preexec_fn=lambda: take_terminal(end), **options)
        os.close(end)

    def read_until(self, pattern, deadline_s=60):
        """Reads until the output matches (bytes); AssertionError after the deadline. None reads to the end."""
        end = time.monotonic() + deadline_s
        os.set_blocking(self.handle, False)
        while pattern is None or not re.search(pattern, self.written):
            if time.monotonic() > end:
                raise AssertionError(f"waited {deadline_s} s for {pattern} on the terminal:\n{self.written[-3000:]}")
            try:
                got = os.read(self.handle, 65536)
            except BlockingIOError:
                time.sleep(0.02)
                continue
            except OSError:  # the other end is closed
                got = b""
            if not got:
                break
            self.written += got
        return self.written

    def type(self, text):
        os.write(self.handle, text)

    def finish(self, deadline_s=60):
        """Reads to the end and returns the exit code."""
        self.read_until(None, deadline_s)
        return self.popen.wait(deadline_s)

    def close(self):
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, 9)
            self.popen.wait()
        os.close(self.handle)

    def lines(self):
        return shown_lines(self.written.decode(errors="replace"))


def take_terminal(handle):
    os.setsid()
    fcntl.ioctl(handle, termios.TIOCSCTTY, 0)


def shown_lines(text):
    """The lines that remain visible on an endless terminal, after carriage returns, erasing to the end of the line, and
    colours."""
    lines, row, column = [], [], 0
    position = 0
    for control in [*CONTROL.finditer(text), None]:
        until = control.start() if control else len(text)
        for letter in text[position:until]:
            row[column:column + 1] = [letter]
            column += 1
        if control is None:
            break
        position = control.end()
        if control.group() == "\r":
            column = 0
        elif control.group() == "\n":
            lines.append("".join(row))
            row, column = [], 0
        elif control.group() == "\033[K":
            del row[column:]
    return lines + (["".join(row)] if row else [])
