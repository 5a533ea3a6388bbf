"""A build folder: whether it can be used as it is, has to be set up again, or cannot be written to.

Only files that a build creates are ever removed from it, even if it contains other files."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import pwd
import re
import shutil
import tempfile
import time

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFLICT = 6
EXIT_FULL = 7

# At the top of the folder: files of meson and ninja, the Python of tests/run.sh, and the folders of the sources.
OWN_FILES = ("build.ninja", ".ninja_*", "compile_commands.json", ".gitignore", ".hgignore", "test-python", "meson-*")
# In the order in which they are removed: meson's own, which identify the folder, are last.
MADE_BY_A_BUILD = ("lib", "data", "models", "tools", "launch", "tests", *OWN_FILES)
NEARLY_FULL_BYTES = 1 << 20  # not every tool reports it when a write fails


class BuildError(Exception):
    """The reason why nothing can be built, as one sentence, and the exit code."""

    def __init__(self, message, code=EXIT_FAILED):
        super().__init__(message)
        self.code = code


def is_full(error):
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def full_disk(place):
    return BuildError(f"the disk of {place} is full: make room (a build takes about 20 MB, with the tests 300 MB), then the "
                      "same command continues where it stopped", EXIT_FULL)


def is_nearly_full(place):
    try:
        return shutil.disk_usage(place).free < NEARLY_FULL_BYTES
    except OSError:
        return False


def owner(path):
    try:
        uid = os.lstat(path).st_uid
    except OSError:
        return "another user"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


class BuildFolder:
    def __init__(self, path):
        self.path = pathlib.Path(os.path.realpath(path))

    def make(self):
        """Creates the folder if it is missing. Raises BuildError if it cannot be written to, or if it contains other
        files, whose lib/ or data/ would be mistaken for ours."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as probe:
                probe.write(bytes(4096))
        except OSError as error:
            raise self._cannot_write(error, self.path) from error
        strangers = [path.name for path in self.path.iterdir()
                     if not any(path.match(pattern) for pattern in (*OWN_FILES, "logs"))]
        if strangers and not self.is_mesons():
            raise BuildError(f"{self.path} is not a build folder and not empty ({sorted(strangers)[0]}): name a "
                             "separate folder with --build_dir DIR", EXIT_USAGE)
        for path in (*self.path.glob("*"), *self.path.glob(".ninja_*"), *self.path.glob("meson-*/*")):
            if not path.is_symlink() and not os.access(path, os.W_OK):
                raise self._cannot_write(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), path)

    def _cannot_write(self, error, path):
        if is_full(error):
            return full_disk(self.path)
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            reason = f"{self.path} cannot be a build folder ({error.strerror})"
        elif not self.path.exists():
            reason = f"the build folder {self.path} cannot be made ({error.strerror})"
        else:
            reason = (f"the build folder {self.path} cannot be written to ({error.strerror}: {path} belongs to "
                      f"{owner(path)})")
        return BuildError(f"{reason}: name a different one with --build_dir DIR", EXIT_USAGE)

    @contextlib.contextmanager
    def locked(self, wait_s, say):
        """Allows one build at a time. Waits for another one to end, and reports it."""
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._lock(handle, time.monotonic() + wait_s, wait_s, say)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle, deadline, wait_s, say):
        said = False
        while True:
            try:
                return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            except OSError:
                return None  # a file system without locks
            if time.monotonic() >= deadline:
                raise BuildError(f"another build was still running in {self.path} after {wait_s:g} s: wait for it to end, "
                                 "or name a different folder with --build_dir DIR", EXIT_CONFLICT)
            if not said:
                said = True
                say(f"another build is running in {self.path}: waiting for it for at most {wait_s:g} s")
            time.sleep(0.2)

    def is_mesons(self):
        return (self.path / "meson-private").is_dir()

    def configured(self):
        return (self.path / "build.ninja").exists() and (self.path / "meson-private" / "coredata.dat").exists()

    def why_anew(self, source, meson_version):
        """The reason why this folder cannot be used for `source` with this meson ("was made for ..."), or None."""
        if not self.is_mesons():
            return None
        if not self.configured():
            return "was left half configured"
        try:
            info = json.loads((self.path / "meson-info" / "meson-info.json").read_text())
            made_for, made_in = info["directories"]["source"], info["directories"]["build"]
            made_by = info["meson_version"]["full"]
        except (OSError, ValueError, KeyError, TypeError):
            return "is damaged"
        for was, now in ((made_for, source), (made_in, self.path)):
            if os.path.realpath(was) != os.path.realpath(now):
                return f"was made for {was}"
        if made_by.split(".")[:2] != meson_version.split(".")[:2]:
            return f"was made by meson {made_by}, but this is {meson_version}"
        tool = self.missing_compiler()
        return f"was made with {tool}, which is missing here" if tool else None

    def missing_compiler(self):
        """The compiler (or a program in front of it, such as ccache) that the folder calls and that no longer exists,
        or None."""
        text = (self.path / "build.ninja").read_text(errors="surrogateescape")
        rule = re.search(r"^rule cpp_COMPILER\n command = (.*?) \$ARGS", text, re.MULTILINE)
        words = rule.group(1).split() if rule else []
        for word in words[:2]:
            if re.fullmatch(r"[\w./+-]+", word) and not word.startswith("-") and not shutil.which(word):
                return word
        return None

    def options(self):
        """{name: value as on meson's command line} of a configured folder; empty if they cannot be read."""
        try:
            found = json.loads((self.path / "meson-info" / "intro-buildoptions.json").read_text())
            return {option["name"]: option_text(option["value"]) for option in found}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def clear(self):
        """Removes the results of builds."""
        for pattern in MADE_BY_A_BUILD:
            for path in self.path.glob(pattern):
                try:
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    else:
                        path.unlink()
                except OSError as error:
                    raise self._cannot_write(error, path) from error


def option_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, list) else str(value)
