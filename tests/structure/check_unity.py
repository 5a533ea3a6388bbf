#!/usr/bin/env python3
"""Builds the program with each library as one source, as launch/build.py does, but without optimization. What stands in
an anonymous namespace must therefore have a name that is unique in its library.

  check_unity.py FOLDER      (a build folder of its own, which makes the next check faster)"""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SETTINGS = ("-Dbuildtype=plain", "-Dwerror=true", "-Dunity=on")


def run(*command):
    """False, after its output, if the command fails."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        print(result.stdout)
    return result.returncode == 0


def main(arguments):
    folder = pathlib.Path(arguments[0])
    configure = ["--reconfigure"] if (folder / "build.ninja").exists() else []
    built = run("meson", "setup", *configure, str(folder), str(ROOT), *SETTINGS) and run("ninja", "-C", str(folder))
    return 0 if built and run(str(folder / "tools" / "distmnist"), "--version") else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
