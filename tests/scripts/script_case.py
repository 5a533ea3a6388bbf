"""What the tests of scripts share: stand-ins for the programs that a script calls, and the support of the end-to-end
tests. Once this file is imported, those of tests/e2e can be, too."""

import contextlib
import os
import pathlib
import signal
import sys
import textwrap

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import support  # noqa: E402


def write_script(path, text):
    """An executable file for bash, in a folder that is made where it is missing; `text` may be indented."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/bash\n" + textwrap.dedent(text))
    path.chmod(0o755)
    return path


def processes_of(folder):
    """The live processes that have the folder in their command line or environment, or work in it."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = b"".join((entry / name).read_bytes() for name in ("cmdline", "environ"))
                words += os.fsencode(os.readlink(entry / "cwd"))
                if os.fsencode(folder) in words and support.is_alive(int(entry.name)):
                    found.append(int(entry.name))
    return found


class ScriptTest(support.EndToEndTest):
    """A case with stand-ins in self.bin."""

    def setUp(self):
        super().setUp()
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        self.addCleanup(self.kill_what_is_left)

    def kill_what_is_left(self):
        """Also what a script that is at fault has left behind."""
        for pid in processes_of(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def fake(self, name, text):
        return write_script(self.bin / name, text)

    def path(self):
        """A PATH on which the stand-ins come first."""
        return f"{self.bin}:{os.environ['PATH']}"

    def finish(self, command, code=0, **options):
        """Runs a command to its end, which must come with this exit code; the process with its output."""
        process = self.start(command, **options)
        self.assert_exit(process, code)
        return process

    def assert_nothing_runs(self):
        support.wait_until(lambda: not processes_of(self.folder), "all processes to be gone", 15)
