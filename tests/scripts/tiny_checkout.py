"""A checkout in small: the scripts and launcher of this one around a program of a few lines, which builds in seconds."""

import contextlib
import os
import pathlib
import shutil
import stat

from script_case import support

MESON_BUILD = """project('distmnist', 'cpp', version: '0.1.0', meson_version: '>=1.0', default_options: ['cpp_std=c++20'])
subdir('tools')
"""
OPTIONS = "option('tests', type: 'boolean', value: false)\n"
TOOLS_MESON_BUILD = "executable('distmnist', 'distmnist.cc')\n"
# Notes how it was started, if told where.
PROGRAM = r"""#include <cstdio>
#include <cstdlib>
int main(int count, char** arguments) {
  const char* notes = std::getenv("TINY_NOTES");
  if (std::FILE* file = notes ? std::fopen(notes, "a") : nullptr) {
    for (int i = 1; i < count; ++i) std::fprintf(file, "%s\n", arguments[i]);
    std::fclose(file);
  }
}
"""


def make(folder):
    """Makes it in `folder`, which must not exist yet, and returns the folder."""
    folder = pathlib.Path(folder)
    (folder / "tools").mkdir(parents=True)
    shutil.copytree(support.ROOT / "launch", folder / "launch", ignore=shutil.ignore_patterns("__pycache__", "meson.build"))
    for name in ("apt-packages.txt", "tools/download_mnist.py"):
        shutil.copy2(support.ROOT / name, folder / name)
    (folder / "meson.build").write_text(MESON_BUILD)
    (folder / "meson_options.txt").write_text(OPTIONS)
    (folder / "tools" / "meson.build").write_text(TOOLS_MESON_BUILD)
    (folder / "tools" / "distmnist.cc").write_text(PROGRAM)
    return folder


def write_script(path, text):
    path.write_text("#!/bin/bash\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


def path_with(folder):
    """A PATH on which the programs of `folder` come first."""
    return f"{folder}:{os.environ['PATH']}"


def as_nobody(command):
    """The command as a user without rights. Only root can do that."""
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]


def processes_of(folder):
    """The live processes that carry the folder in their command line or environment, or work in it."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = b"".join((entry / name).read_bytes() for name in ("cmdline", "environ"))
                words += os.fsencode(os.readlink(entry / "cwd"))
                if os.fsencode(folder) in words and support.is_alive(int(entry.name)):
                    found.append(int(entry.name))
    return found
