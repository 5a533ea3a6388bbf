"""The output of a build: on a terminal one line that is rewritten, in a log a line at intervals, and the compiler's
messages in full."""

import collections
import os
import re
import sys
import time

STEP = re.compile(r"\[(\d+)/(\d+)\] (.*)")
LOG_PARTS = 10  # lines of progress in a log
KEPT_LINES = 2000  # searched after a failure


def say(message):
    show(f"build: {message}\n")


def show(text):
    if sys.stderr is None:  # closed
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        pass  # a closed terminal must not prevent a clean end


class BuildOutput:
    def __init__(self):
        self.terminal = sys.stderr is not None and sys.stderr.isatty()
        self.begun_s = time.monotonic()
        self.said = self.shown = False
        self.part = 0
        self.kept = collections.deque(maxlen=KEPT_LINES)

    def environment(self):
        return {"CLICOLOR_FORCE": "1"} if self.terminal else {}  # otherwise ninja removes the compiler's colours

    def text(self):
        return "\n".join(self.kept)

    def line(self, line):
        self.kept.append(line)
        step = STEP.match(line)
        if step:
            self._progress(int(step.group(1)), int(step.group(2)), step.group(3))
        elif line and not line.startswith("ninja: Entering directory"):
            self.end()
            show(line + "\n")

    def _progress(self, done, total, what):
        text = f"[{done}/{total}] {self._time_left(done, total)}"
        if self.terminal:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            show("\r\033[K" + (text + what)[:columns - 1])
            self.shown = True
        elif done * LOG_PARTS // total > self.part:
            self.part = done * LOG_PARTS // total
            show(text.rstrip(" ,") + "\n")

    def _time_left(self, done, total):
        elapsed_s = time.monotonic() - self.begun_s
        if elapsed_s < 3 or done < 5 or done == total:
            return ""
        left_s = round(elapsed_s / done * (total - done))
        return f"about {left_s // 60}:{left_s % 60:02} left, "

    def end(self):
        """Erases the rewritten line."""
        if self.shown:
            show("\r\033[K")
            self.shown = False
