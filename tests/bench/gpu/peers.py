"""Programs that answer requests: each gets a line on its standard input and returns a line of JSON (step_bench,
torch_step.py)."""

import json
import os
import selectors
import subprocess
import tempfile
import time


class Peer:
    """One such program, which starts with the first request. After it has died or timed out, every answer contains the
    error."""

    def __init__(self, name, command, environment=None):
        self.name, self.command, self.environment = name, command, environment
        self.process, self.fault, self.buffer = None, None, b""
        self.errors = tempfile.TemporaryFile()

    def ask(self, request, limit_s):
        """The answer as a dictionary with at least "us" or "error"."""
        if self.fault is None and self.process is None:
            self._start()
        if self.fault is None:
            try:
                self.process.stdin.write((request + "\n").encode())
                self.process.stdin.flush()
                return self._read_reply(time.monotonic() + limit_s)
            except (OSError, TimeoutError, ValueError) as error:
                self.fault = f"{self.name}: {error} at '{request}'{self._last_words()}"
                self.stop()
        return {"error": self.fault}

    def _start(self):
        try:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=self.errors, env=self.environment)
        except OSError as error:
            self.fault = f"{self.name}: {error}"

    def _read_reply(self, deadline):
        """Ignores lines that are not JSON objects, because libraries can print such lines."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while True:
                line, end, rest = self.buffer.partition(b"\n")
                if end:
                    self.buffer = rest
                    if line.startswith(b"{"):
                        return json.loads(line)
                    continue
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError("no answer in time")
                piece = os.read(self.process.stdout.fileno(), 65536)
                if not piece:
                    raise OSError(f"ended with code {self.process.wait()}")
                self.buffer += piece

    def _last_words(self):
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip().splitlines()
        return f": {said[-1]}" if said else ""

    def stop(self):
        """Stops the program permanently."""
        self.fault = self.fault or f"{self.name} was stopped"
        self.errors.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None
