"""What the tests of scripts share: the support of the end-to-end tests (the files of tests/e2e can be imported after this
one), and stand-ins for the programs that a script calls."""

import os
import pathlib
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


class ScriptTest(support.EndToEndTest):
    """A case with stand-ins in self.bin."""

    def setUp(self):
        super().setUp()
        self.bin = self.folder / "bin"
        self.bin.mkdir()

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
