"""Checks that clang-format would not change the C++ files, and that shellcheck reports nothing for the shell scripts.
Both must be the versions of Debian 12, because other versions give different results. Exits with 77 if they are
missing.

    check_style.py format | shell
"""

import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SKIPPED = 77
FOLDERS = ("data", "lib", "models", "tools", "tests")
CPP = {".cc", ".h", ".inl", ".cu", ".cuh"}
AS_GENERATED = {"tests/golden/mnist_cnn_golden.h"}
TOOLS = {"format": ("clang-format-14", "--dry-run", "-Werror"), "shell": ("shellcheck", "--exclude=SC1091")}


def cpp_files():
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in CPP]
    return [path for path in found if path.relative_to(ROOT).as_posix() not in AS_GENERATED]


def shell_scripts():
    found = [path for folder in (".ci", "launch", "tests") for path in (ROOT / folder).rglob("*")
             if path.is_file() and (path.suffix == ".sh" or folder == ".ci")]
    return [path for path in found if path.read_bytes().startswith(b"#!/usr/bin/env bash")]


def main(what):
    command = TOOLS[what]
    if not shutil.which(command[0]):
        print(f"there is no {command[0]}: launch/install_packages.sh style installs it on Debian 12")
        return SKIPPED
    files = sorted(cpp_files() if what == "format" else shell_scripts())
    done = subprocess.run([*command, *files], cwd=ROOT, check=False)
    print(f"{len(files)} files looked at by {command[0]}")
    return 1 if done.returncode != 0 or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
